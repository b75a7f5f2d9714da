/// Reads a zip archive through its central directory; every number in it is checked against the file.
struct ZipReader: ~Copyable {
  struct Entry {
    let name: String
    fileprivate let method: Int
    fileprivate let crc: UInt32
    fileprivate let packedSize: Int
    fileprivate let size: Int
    fileprivate let offset: Int
  }

  let entries: [Entry]
  private let file: InputFile
  var path: String { file.path }

  init(_ path: String) throws(DataError) {
    let file = try InputFile(path)
    let malformed = DataError.malformed(
      path: file.path, reason: "not a zip archive, or truncated; an .npz file is expected")
    // The end record is the last 22 bytes, unless a comment of up to 64 KiB follows it.
    let tailStart = max(0, file.size - 22 - 0xFFFF)
    let tail = try file.read(tailStart..<file.size)
    guard tail.count >= 22,
      let end = (0...tail.count - 22).last(where: { tail.number($0, 4) == 0x0605_4B50 })
    else { throw malformed }
    var (count, size, start) = (tail.number(end + 10, 2), tail.number(end + 12, 4), tail.number(end + 16, 4))
    if end >= 20, tail.number(end - 20, 4) == 0x0706_4B50 {
      let record = tail.number(end - 12, 8)
      guard record >= 0, record <= file.size - 56 else { throw malformed }
      let zip64 = try file.read(record..<record + 56)
      guard zip64.number(0, 4) == 0x0606_4B50 else { throw malformed }
      (count, size, start) = (zip64.number(32, 8), zip64.number(40, 8), zip64.number(48, 8))
    }
    guard size >= 0, start >= 0, size <= file.size, start <= file.size - size else { throw malformed }
    entries = try Self.entries(file.read(start..<start + size), count, malformed)
    self.file = file
  }

  private static func entries(
    _ directory: [UInt8], _ count: Int, _ malformed: DataError
  ) throws(DataError) -> [Entry] {
    var (entries, at): ([Entry], Int) = ([], 0)
    while entries.count < count {
      guard at + 46 <= directory.count, directory.number(at, 4) == 0x0201_4B50 else { throw malformed }
      let nameEnd = at + 46 + directory.number(at + 28, 2)
      let extraEnd = nameEnd + directory.number(at + 30, 2)
      let next = extraEnd + directory.number(at + 32, 2)
      guard next <= directory.count else { throw malformed }
      // In this order; each is in the zip64 field only if its 32 bits are all ones.
      var sizes = [directory.number(at + 24, 4), directory.number(at + 20, 4), directory.number(at + 42, 4)]
      var extra = nameEnd
      while extra + 4 <= extraEnd {
        let end = extra + 4 + directory.number(extra + 2, 2)
        guard end <= extraEnd else { throw malformed }
        var field = extra + 4
        if directory.number(extra, 2) == 1 {
          for i in 0..<3 where sizes[i] == 0xFFFF_FFFF {
            guard field + 8 <= end else { throw malformed }
            sizes[i] = directory.number(field, 8)
            field += 8
          }
        }
        extra = end
      }
      entries.append(
        Entry(
          name: String(decoding: directory[at + 46..<nameEnd], as: UTF8.self),
          method: directory.number(at + 10, 2), crc: UInt32(directory.number(at + 16, 4)),
          packedSize: sizes[1], size: sizes[0], offset: sizes[2]))
      at = next
    }
    return entries
  }

  /// The unpacked bytes of an entry; its checksum is verified.
  func read(_ entry: Entry) throws(DataError) -> [UInt8] {
    func malformed(_ reason: String) -> DataError {
      .malformed(path: path, reason: "\(entry.name): \(reason)")
    }
    guard entry.offset >= 0, entry.offset <= file.size - 30 else { throw malformed("truncated") }
    let local = try file.read(entry.offset..<entry.offset + 30)
    guard local.number(0, 4) == 0x0403_4B50 else { throw malformed("damaged zip entry") }
    let start = entry.offset + 30 + local.number(26, 2) + local.number(28, 2)
    guard entry.packedSize >= 0, start <= file.size, entry.packedSize <= file.size - start else {
      throw malformed("truncated")
    }
    // Deflate packs at best 1032 to 1, so a larger claim is refused before memory is asked for.
    guard entry.size >= 0, entry.size / 1032 <= entry.packedSize else {
      throw malformed("impossible size \(entry.size)")
    }
    let packed = try file.read(start..<start + entry.packedSize)
    let bytes: [UInt8]
    switch entry.method {
    case 0 where entry.size == entry.packedSize: bytes = packed
    case 8:
      guard let unpacked = Deflate.decompress(packed, count: entry.size) else {
        throw malformed("damaged deflate data")
      }
      bytes = unpacked
    default: throw malformed("zip method \(entry.method); only stored and deflated entries can be read")
    }
    guard bytes.withUnsafeBytes({ Deflate.crc32($0) }) == entry.crc else {
      throw malformed("wrong checksum; the file is damaged")
    }
    return bytes
  }
}

extension [UInt8] {
  /// A little-endian number of `size` bytes; eight bytes that exceed Int.max come out negative.
  fileprivate func number(_ offset: Int, _ size: Int) -> Int {
    (0..<size).reversed().reduce(0) { $0 << 8 | Int(self[offset + $1]) }
  }
}
