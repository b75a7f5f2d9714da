/// Writes a zip archive piece by piece. Entries beyond 4 GiB use zip64 records, others plain ones.
/// Source: PKWARE's APPNOTE.TXT 6.3.
struct ZipWriter {
  private struct Entry {
    let name: [UInt8]
    let isCompressed: Bool
    let crc: UInt32
    let packedSize: UInt64
    let size: UInt64
    let offset: UInt64
  }

  /// Sizes and offsets from here on need zip64: 2^32 - 1, lower in tests only.
  private let zip64Threshold: UInt64
  private var entries: [Entry] = []
  private var position: UInt64 = 0

  init(zip64Threshold: UInt64) { self.zip64Threshold = zip64Threshold }

  /// Appends an entry made of `header` and the bytes of `elements`.
  mutating func append<T: BitwiseCopyable>(
    _ name: String, _ header: [UInt8], _ elements: [T], _ compressed: Bool, to file: borrowing AtomicOutput
  ) throws(DataError) {
    let offset = position
    let (crc, packed, size) = header.withUnsafeBytes { header in
      elements.withUnsafeBytes { body in
        (
          Deflate.crc32(body, continuing: Deflate.crc32(header)),
          compressed ? Deflate.compress([header, body]) : nil, header.count + body.count
        )
      }
    }
    let entry = Entry(
      name: Array(name.utf8), isCompressed: compressed, crc: crc, packedSize: UInt64(packed?.count ?? size),
      size: UInt64(size), offset: offset)
    entries.append(entry)

    var local = Bytes()
    let isLarge = max(entry.size, entry.packedSize) >= zip64Threshold
    local.u32(0x0403_4B50)
    common(entry, isLarge, to: &local)
    local.u16(isLarge ? 20 : 0)
    local.all += entry.name
    if isLarge {
      local.u16(1)
      local.u16(16)
      local.u64(entry.size)
      local.u64(entry.packedSize)
    }
    try file.append(local.all)
    position += UInt64(local.all.count) + entry.packedSize
    if let packed {
      try file.append(packed)
    } else {
      try file.append(header)
      var result: Result<Void, DataError> = .success(())
      elements.withUnsafeBytes { body in
        do throws(DataError) { try file.append(body) } catch { result = .failure(error) }
      }
      try result.get()
    }
  }

  /// The fields that the local and the central header share, from "version needed" to the name's length.
  /// The time is the zip format's first day, 1980-01-01, so that equal arrays give equal files.
  private func common(_ entry: Entry, _ isLarge: Bool, to bytes: inout Bytes) {
    bytes.u16(isLarge ? 45 : 20)
    bytes.u16(0x0800)  // names are UTF-8
    bytes.u16(entry.isCompressed ? 8 : 0)
    bytes.u16(0)
    bytes.u16(0x0021)
    bytes.u32(entry.crc)
    bytes.u32(isLarge ? 0xFFFF_FFFF : UInt32(entry.packedSize))
    bytes.u32(isLarge ? 0xFFFF_FFFF : UInt32(entry.size))
    bytes.u16(UInt16(entry.name.count))
  }

  /// Appends the central directory.
  mutating func finish(to file: borrowing AtomicOutput) throws(DataError) {
    var directory = Bytes()
    for entry in entries {
      let isLarge = max(entry.size, entry.packedSize, entry.offset) >= zip64Threshold
      directory.u32(0x0201_4B50)
      directory.u16(isLarge ? 45 : 20)
      common(entry, isLarge, to: &directory)
      directory.u16(isLarge ? 28 : 0)
      directory.all += [UInt8](repeating: 0, count: 10)  // comment, disk, attributes
      directory.u32(isLarge ? 0xFFFF_FFFF : UInt32(entry.offset))
      directory.all += entry.name
      if isLarge {
        directory.u16(1)
        directory.u16(24)
        directory.u64(entry.size)
        directory.u64(entry.packedSize)
        directory.u64(entry.offset)
      }
    }
    let size = UInt64(directory.all.count)
    let isLarge = max(position, size) >= zip64Threshold || entries.count >= 0xFFFF
    if isLarge {
      directory.u32(0x0606_4B50)
      directory.u64(44)
      directory.u16(45)
      directory.u16(45)
      directory.u64(0)  // disks
      directory.u64(UInt64(entries.count))
      directory.u64(UInt64(entries.count))
      directory.u64(size)
      directory.u64(position)
      directory.u32(0x0706_4B50)
      directory.u32(0)
      directory.u64(position + size)
      directory.u32(1)
    }
    directory.u32(0x0605_4B50)
    directory.u32(0)
    directory.u16(isLarge ? 0xFFFF : UInt16(entries.count))
    directory.u16(isLarge ? 0xFFFF : UInt16(entries.count))
    directory.u32(isLarge ? 0xFFFF_FFFF : UInt32(size))
    directory.u32(isLarge ? 0xFFFF_FFFF : UInt32(position))
    directory.u16(0)
    try file.append(directory.all)
  }

  /// Little-endian numbers.
  private struct Bytes {
    var all: [UInt8] = []
    mutating func u16(_ v: UInt16) { put(v) }
    mutating func u32(_ v: UInt32) { put(v) }
    mutating func u64(_ v: UInt64) { put(v) }
    private mutating func put<T: FixedWidthInteger>(_ v: T) {
      withUnsafeBytes(of: v.littleEndian) { all += $0 }
    }
  }
}
