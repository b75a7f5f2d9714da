import Foundation
import KalsaeCheckpoints
import KalsaeTensors
import Testing

/// What Python's safetensors and diffusers wrote.
@Suite struct FixtureTests {
  static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent()
    .appendingPathComponent("Fixtures").path

  static func files(_ suffix: String) -> [String] {
    let names = FileManager.default.enumerator(atPath: fixtures)?.compactMap { $0 as? String } ?? []
    return names.filter { $0.hasSuffix(suffix) }.sorted()
  }

  @Test func everyFixtureIsRewrittenByteForByte() throws {
    let folder = try TemporaryFolder(), names = Self.files(".safetensors")
    #expect(names.count > 10)
    for name in names {
      let path = Self.fixtures + "/" + name
      let file = try SafetensorsFile(path: path)
      var writer = SafetensorsWriter(metadata: file.metadata)
      for key in file.names {
        let bytes = try file.bytes(of: key)
        writer.add(key, file[key]!.dtype, file[key]!.shape) { write in try bytes.withUnsafeBytes(write) }
      }
      try writer.write(to: folder("copy"))
      #expect(FileManager.default.contentsEqual(atPath: path, andPath: folder("copy")), "\(name)")
    }
  }

  @Test func everyConfigurationReads() throws {
    let names = Self.files("config.json") + Self.files("model_index.json")
    #expect(names.count > 5)
    for name in names { _ = try ConfigJSON(path: Self.fixtures + "/" + name) }
  }

  /// diffusers once called the attention's projections query, key, value and proj_attn.
  @Test func oldNamesLoadThroughAKeyMap() throws {
    let folder = Self.fixtures + "/unet2d-cifar10/"
    let new = try SafetensorsFile(path: folder + "diffusion_pytorch_model.safetensors")
    let old = try SafetensorsFile(path: folder + "legacy_names.safetensors")
    let slots = new.names.map { (path: $0, slot: Slot(.zeros(Shape(new[$0]!.shape)))) }
    let error = #expect(throws: LoadError.self) { try loadSlots(slots, from: old) }
    #expect(error?.report.missing.count == 32 && error?.report.unexpected.count == 32)
    try loadSlots(
      slots, from: old,
      keyMap: [
        "**.query.*": "**.to_q.*", "**.key.*": "**.to_k.*", "**.value.*": "**.to_v.*",
        "**.proj_attn.*": "**.to_out.0.*",
      ])
    for (path, slot) in slots {
      let loaded = UnsafeRawBufferPointer(start: slot.buffer!.pointer, count: slot.spec.byteCount)
      #expect(try new.withBytes(of: path) { $0.elementsEqual(loaded) }, "\(path)")
    }
  }
}
