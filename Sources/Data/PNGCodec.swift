import KalsaeTensors

internal import CPNG

/// PNG through libpng's simplified API, which needs no `setjmp`.
enum PNGCodec {
  static func header(_ bytes: [UInt8]) throws(CodecError) -> ImageHeader {
    try withReader(bytes) { reader in
      .success(
        ImageHeader(
          width: Int(reader.width), height: Int(reader.height), channels: channels(reader.format)))
    }
  }

  static func decode(_ bytes: [UInt8]) throws(CodecError) -> Image {
    try withReader(bytes) { reader in
      let layout = reader.format & (PNG_FORMAT_FLAG_ALPHA | PNG_FORMAT_FLAG_COLOR)
      reader.format = layout
      // Unlabelled 16-bit samples are taken as sRGB, as every viewer does; libpng's default is linear light.
      reader.flags |= UInt32(PNG_IMAGE_FLAG_16BIT_sRGB)
      let (width, height) = (Int(reader.width), Int(reader.height))
      let count = width * height * channels(layout)
      var succeeded = false
      let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        succeeded = png_image_finish_read(&reader, nil, buffer.baseAddress, 0, nil) != 0
        initialized = succeeded ? count : 0
      }
      guard succeeded else { return .failure(CodecError("PNG: " + message(reader))) }
      return .success(Image(width: width, height: height, channels: channels(layout), pixels: pixels))
    }
  }

  static func encode(_ image: Image) -> [UInt8] {
    var writer = png_image()
    writer.version = UInt32(PNG_IMAGE_VERSION)
    writer.width = UInt32(image.width)
    writer.height = UInt32(image.height)
    writer.format =
      (image.isGrey ? 0 : PNG_FORMAT_FLAG_COLOR) | (image.hasAlpha ? PNG_FORMAT_FLAG_ALPHA : 0)
    // Deflate never expands by more than a few bytes per 16 KiB; each row adds a filter byte.
    var size = image.pixels.count + image.pixels.count / 512 + image.height + 4096
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
      let result = png_image_write_to_memory(&writer, buffer.baseAddress, &size, 0, image.pixels, 0, nil)
      require(result != 0, "PNG encoder: \(message(writer))")
      initialized = size
    }
    png_image_free(&writer)
    return bytes
  }

  /// Runs `body` between reading the header and releasing libpng's state.
  private static func withReader<R>(
    _ bytes: [UInt8], _ body: (inout png_image) -> Result<R, CodecError>
  ) throws(CodecError) -> R {
    let result = bytes.withUnsafeBufferPointer { buffer -> Result<R, CodecError> in
      var reader = png_image()
      reader.version = UInt32(PNG_IMAGE_VERSION)
      defer { png_image_free(&reader) }
      guard png_image_begin_read_from_memory(&reader, buffer.baseAddress, buffer.count) != 0 else {
        return .failure(CodecError("PNG: " + message(reader)))
      }
      return body(&reader)
    }
    return try result.get()
  }

  private static func channels(_ format: UInt32) -> Int {
    (format & PNG_FORMAT_FLAG_COLOR != 0 ? 3 : 1) + (format & PNG_FORMAT_FLAG_ALPHA != 0 ? 1 : 0)
  }

  private static func message(_ image: png_image) -> String {
    withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
