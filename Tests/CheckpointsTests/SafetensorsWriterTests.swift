import Foundation
import KalsaeCheckpoints
import Testing

@Suite struct SafetensorsWriterTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// The tensors of `ReferenceFile`, in an order of the caller's.
  private func referenceWriter(reversed: Bool = false) throws -> SafetensorsWriter {
    let file = try SafetensorsFile(path: folder.write(ReferenceFile.bytes, "reference.safetensors"))
    var writer = SafetensorsWriter(metadata: file.metadata)
    for name in reversed ? file.names.reversed() : file.names {
      let bytes = try file.bytes(of: name)
      writer.add(name, file[name]!.dtype, file[name]!.shape) { write in try bytes.withUnsafeBytes(write) }
    }
    return writer
  }

  @Test(arguments: [false, true]) func writesTheBytesOfTheReference(reversed: Bool) throws {
    try referenceWriter(reversed: reversed).write(to: folder("out.safetensors"))
    #expect(try folder.read("out.safetensors") == ReferenceFile.bytes)
    #expect(try folder.names == ["out.safetensors", "reference.safetensors"])
  }

  @Test func streamsLargeTensorsInPieces() throws {
    let piece = [UInt8]((0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
    var writer = SafetensorsWriter()
    writer.add("large", .uint8, [3, 100_000]) { write in
      for _ in 0..<3 { try piece.withUnsafeBytes(write) }
    }
    writer.add("odd", .int8, [3]) { write in
      for value in [1, 2, 3] as [Int8] { try withUnsafeBytes(of: value, write) }
    }
    try writer.write(to: folder("large.safetensors"))
    let file = try SafetensorsFile(path: folder("large.safetensors"))
    #expect(try file.withBytes(of: "large", Array.init) == piece + piece + piece)
    #expect(try file.withBytes(of: "odd", Array.init) == [1, 2, 3])
  }

  @Test func theDataStartAtAMultipleOfEight() throws {
    for length in 1...9 {
      var writer = SafetensorsWriter()
      writer.add(String(repeating: "n", count: length), .uint8, [1]) { write in
        try withUnsafeBytes(of: 7 as UInt8, write)
      }
      try writer.write(to: folder("aligned.safetensors"))
      let bytes = try folder.read("aligned.safetensors")
      #expect(bytes[0] % 8 == 0 && bytes.count == 8 + Int(bytes[0]) + Int(bytes[1]) * 256 + 1)
    }
  }

  @Test(arguments: [3, 5]) func aSourceOfTheWrongSizeIsRefused(count: Int) throws {
    var writer = SafetensorsWriter()
    writer.add("w", .float32, [1]) { write in try [UInt8](repeating: 0, count: count).withUnsafeBytes(write) }
    let error = #expect(throws: SafetensorsError.self) { try writer.write(to: folder("w.safetensors")) }
    #expect(error?.problem == .sizeMismatch(.float32, shape: [1], expected: 4, found: count))
    #expect(try folder.names == [])
  }

  @Test func oneNameTwiceIsRefused() throws {
    var writer = SafetensorsWriter()
    writer.add("w", .uint8, [0]) { _ in }
    writer.add("w", .float32, [0]) { _ in }
    let error = #expect(throws: SafetensorsError.self) { try writer.write(to: folder("w.safetensors")) }
    #expect(error?.key == "w" && error?.problem == .duplicateKey)
  }

  @Test func aFailingSourceLeavesTheOldFile() throws {
    struct Refusal: Error {}
    try folder.write("old".utf8, "w.safetensors")
    var writer = SafetensorsWriter()
    writer.add("w", .uint8, [200_000]) { write in
      try [UInt8](repeating: 1, count: 100_000).withUnsafeBytes(write)
      throw Refusal()
    }
    #expect(throws: Refusal.self) { try writer.write(to: folder("w.safetensors")) }
    #expect(try folder.names == ["w.safetensors"])
    #expect(try folder.read("w.safetensors") == Array("old".utf8))
  }

  @Test func aMissingFolderIsReported() throws {
    let error = #expect(throws: SafetensorsError.self) {
      try SafetensorsWriter().write(to: folder("absent/w.safetensors"))
    }
    #expect(error?.description.contains("absent/w.safetensors: cannot create") == true)
  }

  #if os(Linux)
    /// The disk fills up in the middle of a tensor: an error that says so, the old file intact, no remainder.
    @Test func aFullDiskLeavesTheOldFile() throws {
      let path = folder("w.safetensors"), folder = String(folder.path.split(separator: "/").last!)
      try self.folder.write("old".utf8, "w.safetensors")
      var writer = SafetensorsWriter()
      writer.add("w", .uint8, [400_000]) { write in
        let half = [UInt8](repeating: 1, count: 200_000)
        try half.withUnsafeBytes(write)
        // From here on the kernel refuses the temporary file's writes as on a full disk.
        let full = open("/dev/full", O_WRONLY)
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
          let link = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + name)
          if link?.contains(folder) == true { dup2(full, Int32(name)!) }
        }
        close(full)
        try half.withUnsafeBytes(write)
      }
      let error = #expect(throws: SafetensorsError.self) { try writer.write(to: path) }
      #expect(error?.problem == .file(FileError(path: path, operation: "write", code: ENOSPC)))
      #expect(error?.description.contains("free some space") == true)
      #expect(try self.folder.names == ["w.safetensors"])
      #expect(try self.folder.read("w.safetensors") == Array("old".utf8))
    }
  #endif
}
