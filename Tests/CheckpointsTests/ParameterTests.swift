import Foundation
import KalsaeCPUBackend
import KalsaeCheckpoints
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import Testing

@Suite struct ParameterTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  struct Inner: Module {
    let weight: Parameter, running: State
    init() {
      weight = Parameter(.zeros([2, 3]))
      running = State(.zeros([3]))
    }
  }

  /// `head` is tied to `inner.weight`.
  struct Outer: Module {
    let inner: Inner, bias: Parameter, head: Parameter
    init() {
      inner = Inner()
      bias = Parameter(.zeros([2]))
      head = inner.weight
    }
  }

  private func file(_ tensors: [String: Tensor]) throws -> SafetensorsFile {
    try saveTensors(tensors, to: folder("model.safetensors"))
    return try SafetensorsFile(path: folder("model.safetensors"))
  }

  private func floats(_ slot: Slot) -> [Float] {
    let buffer = slot.buffer!
    return Array(
      UnsafeBufferPointer(
        start: buffer.pointer.assumingMemoryBound(to: Float.self), count: slot.spec.shape.count))
  }

  private let weight = Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])
  private let running = Tensor([7, 8, 9] as [Float]), bias = Tensor([-1, -2] as [Float])

  @Test(arguments: ["inner.weight", "head"]) func everyValueArrives(key: String) throws {
    let contents = Outer().contents
    let report = try loadParameters(
      into: contents, from: file([key: weight, "inner.running": running, "bias": bias]))
    #expect(report.loaded == ["inner.weight", "bias", "inner.running"] && report.isComplete)
    #expect(contents.slots.map(floats) == [[1, 2, 3, 4, 5, 6], [-1, -2], [7, 8, 9]])
    #expect(contents.slots.allSatisfy { $0.version == 1 && $0.pending == nil })
  }

  @Test func savingAndLoadingIsTheIdentity() throws {
    let contents = Outer().contents
    try loadParameters(
      into: contents, from: file(["inner.weight": weight, "inner.running": running, "bias": bias]))
    try saveParameters(of: contents, to: folder("saved.safetensors"))
    let saved = try SafetensorsFile(path: folder("saved.safetensors"))
    #expect(saved.names == ["bias", "inner.running", "inner.weight"] && saved.metadata == ["format": "pt"])
    let again = Outer().contents
    try loadParameters(into: again, from: saved)
    #expect(again.slots.map(floats) == contents.slots.map(floats))
    try saveParameters(of: again, to: folder("again.safetensors"))
    #expect(try folder.read("again.safetensors") == folder.read("saved.safetensors"))
  }

  /// Values that were assigned but not evaluated are those that are saved.
  @Test func pendingValuesAreSaved() throws {
    let linear = Initialization.with(seed: 3) { Linear(3, 2) }
    let bias = try #require(linear.bias)
    bias.value = Tensor([0.5, 0.25] as [Float])
    try Backends.with(CPUBackend()) {
      try saveParameters(of: linear.contents, to: folder("linear.safetensors"))
    }
    let file = try SafetensorsFile(path: folder("linear.safetensors"))
    #expect(file.names == ["bias", "weight"])
    #expect(try file.tensor("bias").floats() == [0.5, 0.25])
    let weight = try file.tensor("weight").floats()
    #expect(weight == floats(linear.weight.slot) && Set(weight).count == 6)
  }

  @Test func everyProblemIsInOneReport() throws {
    let contents = Outer().contents
    let file = try file([
      "inner.weight": Tensor([Float](repeating: 0, count: 6), [3, 2]), "bias": Tensor([1, 2] as [Int32]),
      "extra.b": bias, "extra.a": bias,
    ])
    let error = #expect(throws: LoadError.self) { try loadParameters(into: contents, from: file) }
    let expected = """
      \(file.path): does not fit the model (1 missing, 2 unexpected, 1 misshapen, 1 of another type); \
      nothing was loaded; check that it was made with the same configuration
        missing: inner.running
        unexpected: extra.a
        unexpected: extra.b
        misshapen: inner.weight: expected (2, 3), found (3, 2)
        of another type: bias: expected float32, found I32
      """
    #expect(error?.description == expected)
    #expect(contents.slots.allSatisfy { $0.version == 0 })
  }

  @Test func tiedKeysMustAgree() throws {
    let rest = ["inner.running": running, "bias": bias]
    try loadParameters(
      into: Outer().contents, from: file(rest.merging(["inner.weight": weight, "head": weight]) { $1 }))
    let other = Tensor([1, 2, 3, 4, 5, 7] as [Float], [2, 3])
    let file = try file(rest.merging(["inner.weight": weight, "head": other]) { $1 })
    let error = #expect(throws: LoadError.self) { try loadParameters(into: Outer().contents, from: file) }
    #expect(error?.report.conflicts.map(\.keys) == [["inner.weight", "head"]])
  }

  @Test func keyMapsRenameAndSetAside() throws {
    let contents = Outer().contents
    let keyMap: KeyMap = ["model.**": "**", "**.count": nil]
    let report = try loadParameters(
      into: contents,
      from: file([
        "model.inner.weight": weight, "model.inner.running": running, "bias": bias, "inner.count": bias,
      ]), keyMap: keyMap)
    #expect(report.ignored == ["inner.count"])
    // Two keys that become one must agree.
    let file = try file([
      "model.inner.weight": weight, "inner.running": running, "bias": bias, "model.bias": running,
    ])
    let error = #expect(throws: LoadError.self) {
      try loadParameters(into: Outer().contents, from: file, keyMap: keyMap)
    }
    #expect(error?.report.conflicts.map(\.keys) == [["bias", "model.bias"]])
  }

  // MARK: Element types

  /// 1, -2.5, 2^-24 (half's smallest), 65504 (half's largest), 1 + 2^-10 (not a bfloat16), 3.1 (neither), infinity.
  static let numbers: [Double] = [1, -2.5, 0x1p-24, 65504, 1 + 0x1p-10, 3.1, .infinity]

  /// The numbers in each type of the file.
  private func bytes(_ type: SafetensorsDType) -> [UInt8] {
    func flat<T>(_ values: [T]) -> [UInt8] { values.withUnsafeBytes(Array.init) }
    return switch type {
    case .float64: flat(Self.numbers)
    case .float32: flat(Self.numbers.map(Float.init))
    case .float16: flat([0x3C00, 0xC100, 0x0001, 0x7BFF, 0x3C01, 0x4233, 0x7C00] as [UInt16])
    default: flat([0x3F80, 0xC020, 0x3380, 0x4780, 0x3F80, 0x4046, 0x7F80] as [UInt16])
    }
  }

  /// What a float32 read from each type is.
  private func values(_ type: SafetensorsDType) -> [Float] {
    switch type {
    case .float16: [1, -2.5, 0x1p-24, 65504, 1 + 0x1p-10, 3.099609375, .infinity]
    case .bfloat16: [1, -2.5, 0x1p-24, 65536, 1, 3.09375, .infinity]
    default: Self.numbers.map(Float.init)
    }
  }

  @Test(
    arguments: [SafetensorsDType.float64, .float32, .float16, .bfloat16],
    [DType.float32, .float16, .bfloat16])
  func floatingPointTypesConvert(from type: SafetensorsDType, to dtype: DType) throws {
    var writer = SafetensorsWriter()
    writer.add("x", type, [7]) { write in try bytes(type).withUnsafeBytes(write) }
    try writer.write(to: folder("x.safetensors"))
    let slot = Slot(.zeros([7], dtype: dtype))
    try loadSlots([("x", slot)], from: SafetensorsFile(path: folder("x.safetensors")))
    let read = UnsafeRawBufferPointer(start: slot.buffer!.pointer, count: 7 * dtype.byteCount)
    // Through float32 and back is exact for each value that the narrower type can hold.
    if dtype == .float32 {
      #expect(Array(read.bindMemory(to: Float.self)) == values(type))
    } else if type == .float64 || type == .float32 || type == dtype.safetensors {
      #expect(Array(read) == bytes(dtype.safetensors))
    } else {
      // Between the 16-bit types: half to bfloat16 rounds, bfloat16 to half keeps or overflows.
      let expected: [UInt16] =
        dtype == .bfloat16
        ? [0x3F80, 0xC020, 0x3380, 0x4780, 0x3F80, 0x4046, 0x7F80]
        : [0x3C00, 0xC100, 0x0001, 0x7C00, 0x3C00, 0x4230, 0x7C00]
      #expect(Array(read.bindMemory(to: UInt16.self)) == expected)
    }
  }

  @Test func tensorsLieInTheMappedFile() throws {
    var tensor: Tensor?
    do { tensor = try file(["x": weight, "n": Tensor([5] as [Int64])]).tensor("x") }
    #expect(tensor?.spec == Spec([2, 3], .float32))
    #expect(tensor?.withElements { $0.load(fromByteOffset: 20, as: Float.self) } == 6)
    let file = try SafetensorsFile(path: folder("model.safetensors"))
    #expect(Set(try file.tensors().keys) == ["x", "n"])
    #expect(try file.tensor("x", as: .float16).withElements { $0.load(as: UInt16.self) } == 0x3C00)
    let error = #expect(throws: SafetensorsError.self) { try file.tensor("n", as: .float32) }
    #expect(error?.description.hasSuffix("tensor 'n': I64 does not convert to float32") == true)
  }

  @Test func typesWithoutATensorTypeAreReported() throws {
    try folder.write(
      safetensors(
        #"{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#,
        data: [0, 0, 0, 0x80, 0x3F]), "odd.safetensors")
    let file = try SafetensorsFile(path: folder("odd.safetensors"))
    #expect(throws: SafetensorsError.self) { try file.tensor("x") }
    // At an odd address, hence copied.
    #expect(try file.tensor("y").withElements { $0.load(as: Float.self) } == 1)
  }
}
