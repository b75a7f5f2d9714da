internal import CTurboJPEG

/// JPEG through libjpeg-turbo's TurboJPEG API.
enum JPEGCodec {
  static func header(_ bytes: [UInt8]) throws(CodecError) -> ImageHeader {
    let decoder = try Decoder(bytes)
    return ImageHeader(width: decoder.width, height: decoder.height, channels: decoder.isGrey ? 1 : 3)
  }

  static func decode(
    _ bytes: [UInt8], _ header: ImageHeader, minimumSide: Int?
  ) throws(CodecError) -> Image {
    let decoder = try Decoder(bytes)
    // The decoder scales by 1/8, 1/4, 1/2 almost for free, with the same effect as averaging.
    let denominator = minimumSide.flatMap { side in
      [8, 4, 2].first { min(header.width, header.height) / $0 >= 2 * side }
    }
    let width = (header.width + (denominator ?? 1) - 1) / (denominator ?? 1)
    let height = (header.height + (denominator ?? 1) - 1) / (denominator ?? 1)
    if decoder.isCMYK {
      return rgb(
        fromInvertedCMYK: try decoder.decode(bytes, width, height, channels: 4, format: TJPF_CMYK),
        width: width, height: height)
    }
    let pixels = try decoder.decode(
      bytes, width, height, channels: header.channels, format: header.channels == 1 ? TJPF_GRAY : TJPF_RGB)
    return Image(width: width, height: height, channels: header.channels, pixels: pixels)
  }

  /// Adobe's CMYK files, the only ones in use, store 255 minus the amount of ink: R = C K / 255.
  private static func rgb(fromInvertedCMYK cmyk: [UInt8], width: Int, height: Int) -> Image {
    var image = Image(width: width, height: height, channels: 3)
    for i in 0..<width * height {
      let k = Int(cmyk[4 * i + 3])
      for c in 0..<3 { image.pixels[3 * i + c] = UInt8((Int(cmyk[4 * i + c]) * k + 127) / 255) }
    }
    return image
  }

  /// One TurboJPEG instance after reading a file's header.
  private struct Decoder: ~Copyable {
    let handle: tjhandle
    let width: Int
    let height: Int
    let isGrey: Bool
    let isCMYK: Bool

    init(_ bytes: [UInt8]) throws(CodecError) {
      guard let handle = tjInitDecompress() else { throw CodecError("JPEG: the decoder has no memory") }
      var (width, height, subsampling, colours): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
      guard
        tjDecompressHeader3(
          handle, bytes, UInt(bytes.count), &width, &height, &subsampling, &colours) == 0
      else {
        let reason = Self.message(handle)
        tjDestroy(handle)
        throw CodecError(reason)
      }
      self.handle = handle
      self.width = Int(width)
      self.height = Int(height)
      isGrey = colours == Int32(TJCS_GRAY.rawValue)
      isCMYK = colours == Int32(TJCS_CMYK.rawValue) || colours == Int32(TJCS_YCCK.rawValue)
    }

    deinit { tjDestroy(handle) }

    func decode(
      _ bytes: [UInt8], _ width: Int, _ height: Int, channels: Int, format: TJPF
    ) throws(CodecError) -> [UInt8] {
      var status: Int32 = 0
      let handle = self.handle
      let count = width * height * channels
      let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        buffer.initialize(repeating: 0)
        initialized = count
        // A file of few bytes can ask for thousands of scans, each of full cost; the limit is 500.
        status = tjDecompress2(
          handle, bytes, UInt(bytes.count), buffer.baseAddress, Int32(width), 0, Int32(height),
          Int32(format.rawValue), TJFLAG_LIMITSCANS)
      }
      // Stray bytes between segments do no harm and are common; any other warning means lost pixels.
      let isHarmless =
        tjGetErrorCode(handle) == Int32(TJERR_WARNING.rawValue)
        && Self.message(handle).contains("extraneous bytes")
      guard status == 0 || isHarmless else { throw CodecError(Self.message(handle)) }
      return pixels
    }

    private static func message(_ handle: tjhandle) -> String {
      "JPEG: " + (tjGetErrorStr2(handle).map { String(cString: $0) } ?? "unknown error")
    }
  }
}
