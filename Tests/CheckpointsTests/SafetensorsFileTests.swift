import Foundation
import KalsaeCheckpoints
import Testing

@Suite struct SafetensorsFileTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func readsWhatTheReferenceWrites() throws {
    let file = try SafetensorsFile(path: folder.write(ReferenceFile.bytes, "model.safetensors"))
    #expect(file.names == ["a.bias", "b.weight", "d", "empty", "mask", "q\"é", "steps", "u"])
    #expect(file.metadata == ["format": "pt"])
    let weight = try #require(file["b.weight"])
    #expect(weight.dtype == .float32 && weight.shape == [2, 3])
    #expect(
      try file.withBytes(of: "b.weight") { Array($0.bindMemory(to: Float.self)) } == [0, 1, 2, 3, 4, 5])
    #expect(try file.withBytes(of: "mask", Array.init) == [1, 0, 1])
    #expect(file["steps"]?.shape == [] && file["empty"]?.shape == [0, 4])
    #expect(try file.bytes(of: "empty").count == 0)
    #expect(file["absent"] == nil)
    #expect(throws: SafetensorsError.self) { try file.bytes(of: "absent") }
  }

  @Test func bytesKeepTheMappingAlive() throws {
    var bytes: MappedBytes?
    do {
      let file = try SafetensorsFile(path: folder.write(ReferenceFile.bytes, "model.safetensors"))
      bytes = try file.bytes(of: "a.bias")
    }
    #expect(bytes?.withUnsafeBytes(Array.init) == [0, 0x3C, 0, 0xC0])
  }

  @Test func aFileWithoutTensorsIsValid() throws {
    #expect(try SafetensorsFile(path: folder.write(safetensors("{}"), "none.safetensors")).names.isEmpty)
  }

  // MARK: Hostile headers

  struct Hostile: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]
    let key: String?
    let problem: SafetensorsError.Problem
  }

  static func tensor(_ dtype: String, _ shape: String, _ offsets: String) -> String {
    #"{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":\#(offsets)}"#
  }

  static let four = [UInt8](repeating: 0, count: 4)

  static let hostile: [Hostile] = [
    Hostile(testDescription: "empty file", bytes: [], key: nil, problem: .tooShort(bytes: 0)),
    Hostile(
      testDescription: "seven bytes", bytes: [2, 0, 0, 0, 0, 0, 0], key: nil, problem: .tooShort(bytes: 7)),
    Hostile(
      testDescription: "header length of all ones", bytes: safetensors("{}", length: .max), key: nil,
      problem: .headerTooLong(.max, limit: 100_000_000)),
    Hostile(
      testDescription: "header longer than the file", bytes: safetensors("{}", length: 3), key: nil,
      problem: .headerTruncated(length: 3, available: 2)),
    Hostile(
      testDescription: "unknown dtype",
      bytes: safetensors(#"{"w":\#(tensor("F31", "[1]", "[0,4]"))}"#, data: four),
      key: "w", problem: .unknownDType("F31")),
    Hostile(
      testDescription: "product overflows",
      bytes: safetensors(#"{"w":\#(tensor("F32", "[4294967296,4294967296]", "[0,4]"))}"#, data: four),
      key: "w",
      problem: .unrepresentableSize(.float32, shape: [4_294_967_296, 4_294_967_296])),
    Hostile(
      testDescription: "bits do not fill bytes",
      bytes: safetensors(#"{"w":\#(tensor("F4", "[3]", "[0,2]"))}"#, data: [0, 0]),
      key: "w", problem: .unrepresentableSize(.float4, shape: [3])),
    Hostile(
      testDescription: "begin after end",
      bytes: safetensors(#"{"w":\#(tensor("F32", "[1]", "[4,0]"))}"#, data: four),
      key: "w", problem: .offsetsOutsideFile(begin: 4, end: 0, available: 4)),
    Hostile(
      testDescription: "end beyond the file",
      bytes: safetensors(#"{"w":\#(tensor("F32", "[2]", "[0,8]"))}"#, data: four),
      key: "w", problem: .offsetsOutsideFile(begin: 0, end: 8, available: 4)),
    Hostile(
      testDescription: "offsets at the end of Int",
      bytes: safetensors(
        #"{"w":\#(tensor("F32", "[1]", "[9223372036854775803,9223372036854775807]"))}"#, data: four),
      key: "w", problem: .offsetsOutsideFile(begin: .max - 4, end: .max, available: 4)),
    Hostile(
      testDescription: "size is not product times width",
      bytes: safetensors(#"{"w":\#(tensor("F16", "[1]", "[0,4]"))}"#, data: four), key: "w",
      problem: .sizeMismatch(.float16, shape: [1], expected: 2, found: 4)),
    Hostile(
      testDescription: "overlap",
      bytes: safetensors(
        #"{"v":\#(tensor("U8", "[3]", "[0,3]")),"w":\#(tensor("U8", "[2]", "[2,4]"))}"#, data: four),
      key: "w", problem: .overlap(with: "v")),
    Hostile(
      testDescription: "hole",
      bytes: safetensors(
        #"{"v":\#(tensor("U8", "[1]", "[0,1]")),"w":\#(tensor("U8", "[2]", "[2,4]"))}"#, data: four),
      key: "w", problem: .unusedBytes(1..<2)),
    Hostile(
      testDescription: "bytes left over",
      bytes: safetensors(#"{"w":\#(tensor("U8", "[3]", "[0,3]"))}"#, data: four),
      key: nil, problem: .unusedBytes(3..<4)),
  ]

  @Test(arguments: hostile) func rejects(_ hostile: Hostile) throws {
    let path = try folder.write(hostile.bytes, "model.safetensors")
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    #expect(error?.path == path && error?.key == hostile.key && error?.problem == hostile.problem)
    let text = try #require(error?.description)
    #expect(
      text.hasPrefix(path) && text.contains("'\(hostile.key ?? "")'") == (hostile.key != nil), "\(text)")
  }

  /// Headers that are not the JSON of the format: the text, the tensor to blame, and a part of the message.
  static let malformed: [(header: String, key: String?, message: String)] = [
    ("", nil, "expected '{'"),
    (" {}", nil, "expected '{' as the first byte"),
    ("[]", nil, "expected '{'"),
    ("{", nil, "the end of the text"),
    ("{}x", nil, "expected the end"),
    (#"{"w":3}"#, "w", "expected '{'"),
    (#"{"w":{}}"#, "w", "no dtype, no shape, no data_offsets"),
    (#"{"w":{"dtype":"U8","shape":[0]}}"#, "w", "no data_offsets"),
    (#"{"w":\#(tensor("U8", "[-1]", "[0,0]"))}"#, "w", "non-negative"),
    (#"{"w":\#(tensor("U8", "[1.0]", "[0,1]"))}"#, "w", "integers"),
    (#"{"w":\#(tensor("U8", "[18446744073709551616]", "[0,0]"))}"#, "w", "fit 64 bits"),
    (#"{"w":\#(tensor("U8", "[0]", "[0]"))}"#, "w", "two numbers"),
    (#"{"w":\#(tensor("U8", "[0]", "[0,0,0]"))}"#, "w", "more than 2"),
    (
      #"{"w":\#(tensor("U8", "[" + String(repeating: "1,", count: 99) + "0]", "[0,0]"))}"#, "w",
      "more than 64"
    ),
    (#"{"w":\#(tensor("U8", "[0]", "[0,0]")),"w":\#(tensor("U8", "[0]", "[0,0]"))}"#, "w", "duplicate key"),
    (#"{"w":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, "w", "duplicate key"),
    (#"{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}"#, "w", "unknown key"),
    (#"{"__metadata__":{"a":1}}"#, "__metadata__", "must be a string"),
    (#"{"__metadata__":{"a":"1","a":"2"}}"#, "__metadata__", "duplicate key"),
    (#"{"w\ud800":1}"#, nil, "surrogate"),
    ("{\"w\u{1}\":1}", nil, "control character"),
    (#"{"w":"# + String(repeating: "[", count: 1_000_000), "w", "expected '{'"),
  ]

  @Test(arguments: malformed.indices) func rejectsMalformedJSON(_ index: Int) throws {
    let (header, key, message) = Self.malformed[index]
    let path = try folder.write(safetensors(header), "model.safetensors")
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    #expect(error?.key == key && error?.description.contains(message) == true, "\(error!)")
  }

  @Test func aHostileNameIsShownOnOneShortLine() throws {
    let name = String(repeating: #"a\n"#, count: 10_000)
    let path = try folder.write(safetensors(#"{"\#(name)":1}"#), "model.safetensors")
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    let text = try #require(error?.description)
    #expect(text.count < 600 && !text.contains("\n") && text.contains(#"'a\na\n"#))
  }

  @Test func rejectsInvalidUTF8() throws {
    var bytes = ReferenceFile.bytes
    bytes[10] = 0xFF
    let path = try folder.write(bytes, "model.safetensors")
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    #expect(error?.description.contains("UTF-8") == true)
  }

  @Test func reportsAPathThatIsNoFile() throws {
    var error = #expect(throws: SafetensorsError.self) {
      try SafetensorsFile(path: folder("absent.safetensors"))
    }
    #expect(
      error?.problem == .file(FileError(path: folder("absent.safetensors"), operation: "open", code: ENOENT)))
    error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: folder.path) }
    #expect(error?.description.contains("directory") == true)
    #expect(mkfifo(folder("pipe"), 0o600) == 0)
    #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: folder("pipe")) }
  }

  /// A truncated file is refused, whatever its length.
  @Test func everyTruncationIsRejected() throws {
    let whole = ReferenceFile.bytes
    for count in 0..<whole.count {
      let path = try folder.write(whole.prefix(count), "cut.safetensors")
      #expect(throws: SafetensorsError.self, "\(count) bytes") { try SafetensorsFile(path: path) }
    }
  }

  /// Damaged headers either are refused or describe ranges inside the file.
  @Test func randomDamageNeverEscapesTheFile() throws {
    let whole = ReferenceFile.bytes
    var random = SplitMix(state: 1), refused = 0
    let alphabet = Array(#"{}[]",:0123456789-.eE\ntfu "#.utf8)
    for _ in 0..<3_000 {
      var bytes = whole
      for _ in 0...Int.random(in: 0..<3, using: &random) {
        let position = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[position] = alphabet.randomElement(using: &random)!
        case 2: bytes.remove(at: position)
        default: bytes.insert(alphabet.randomElement(using: &random)!, at: position)
        }
      }
      let path = try folder.write(bytes, "damaged.safetensors")
      do {
        let file = try SafetensorsFile(path: path)
        for name in file.names { _ = try file.withBytes(of: name) { $0.reduce(0) { Int($0) + Int($1) } } }
      } catch is SafetensorsError { refused += 1 }
    }
    #expect(refused > 2_000)
  }

  // MARK: Shards

  private func writeShards(_ index: String) throws -> String {
    let half = #"{"a":\#(Self.tensor("U8", "[2]", "[0,2]"))}"#,
      other = #"{"b":\#(Self.tensor("U8", "[1]", "[0,1]"))}"#
    try folder.write(safetensors(half, data: [1, 2]), "m-00001-of-00002.safetensors")
    try folder.write(safetensors(other, data: [3]), "m-00002-of-00002.safetensors")
    return try folder.write(index.utf8, "m.safetensors.index.json")
  }

  @Test func shardsOpenAsOne() throws {
    let path = try writeShards(
      #"{"metadata":{"total_size":3},"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00002-of-00002.safetensors"}}"#
    )
    let file = try SafetensorsFile(path: path)
    #expect(file.names == ["a", "b"])
    #expect(try file.withBytes(of: "a", Array.init) == [1, 2])
    #expect(try file.withBytes(of: "b", Array.init) == [3])
    #expect(try SafetensorsFile(folder: folder.path, name: "m").names == ["a", "b"])
    // A single file goes before shards.
    try folder.write(ReferenceFile.bytes, "m.safetensors")
    #expect(try SafetensorsFile(folder: folder.path, name: "m").names.count == 8)
    let error = #expect(throws: SafetensorsError.self) {
      try SafetensorsFile(folder: folder.path, name: "absent")
    }
    #expect(error?.path == folder("absent.safetensors"))
  }

  @Test(
    arguments: [
      (#"{"a":"m-00001-of-00002.safetensors"}"#, nil, nil),
      (
        #"{"a":"m-00002-of-00002.safetensors"}"#, "b",
        SafetensorsError.Problem.notInIndex(shard: "m-00002-of-00002.safetensors")
      ),
      (
        #"{"a":"m-00001-of-00002.safetensors","c":"m-00001-of-00002.safetensors"}"#, "c",
        .notInShard("m-00001-of-00002.safetensors")
      ),
      (
        #"{"a":"../m-00001-of-00002.safetensors"}"#, "a", .badShardName(#""../m-00001-of-00002.safetensors""#)
      ),
      (#"{"a":1}"#, "a", .badShardName("1")),
    ] as [(String, String?, SafetensorsError.Problem?)])
  func indexAndShardsMustAgree(_ map: String, key: String?, problem: SafetensorsError.Problem?) throws {
    let path = try writeShards(#"{"weight_map":\#(map)}"#)
    guard let problem else {
      #expect(try SafetensorsFile(path: path).names == ["a"])
      return
    }
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    #expect(error?.key == key && error?.problem == problem)
  }

  @Test(arguments: ["{}", "[", #"{"weight_map":[]}"#]) func aBrokenIndexIsRejected(_ text: String) throws {
    let path = try writeShards(text)
    #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
  }
}

/// SplitMix64: a seeded generator, so that a failure repeats.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
