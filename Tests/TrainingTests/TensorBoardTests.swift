import Foundation
import KalsaeCheckpoints
import KalsaeTraining
import Testing

@Suite struct TensorBoardTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func writer(resumingAfter step: Int? = nil) throws -> TensorBoardWriter {
    try TensorBoardWriter(folder: folder("tb"), resumingAfter: step, host: "host") { 1_700_000_000.5 }
  }

  private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// The same events as TensorBoard's own Python messages and checksums encode them, record by record.
  private let reference = (
    version: "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110",
    restart: "0f000000000000006d532b090900002040fc54d94110153a0208019ae9161c",
    scalars: "2700000000000000bbe1b1460900002040fc54d94110152a1a0a0b0a046c6f7373150000803e"
      + "0a0b0a04726174651517b7d1385d885221",
    image: "2700000000000000bbe1b1460900002040fc54d94110ac022a190a170a0773616d706c6573"
      + "220c080210031803220489504e47d2753359"
  )

  @Test func writesTheBytesThatTensorBoardWrites() throws {
    let board = try writer(resumingAfter: 20)
    try board.scalars([("loss", 0.25), ("rate", 1e-4)], step: 21)
    try board.image("samples", png: [0x89, 0x50, 0x4E, 0x47], height: 2, width: 3, channels: 3, step: 300)
    let bytes = try folder.read("tb/events.out.tfevents.1700000000.host")
    #expect(
      hexadecimal(bytes) == reference.version + reference.restart + reference.scalars + reference.image)
  }

  @Test func everyEventIsInTheFileAtOnce() throws {
    let board = try writer()
    #expect(board.path == folder("tb/events.out.tfevents.1700000000.host"))
    #expect(hexadecimal(try folder.read("tb/events.out.tfevents.1700000000.host")) == reference.version)
    try board.scalar("loss", 0.25, step: 21)
    #expect(try folder.read("tb/events.out.tfevents.1700000000.host").count > reference.version.count / 2)
  }

  @Test func twoRunsInOneSecondHaveTwoFiles() throws {
    let first = try writer(), second = try writer(resumingAfter: 3)
    #expect(first.path != second.path)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder("tb")).sorted()
        == ["events.out.tfevents.1700000000.host", "events.out.tfevents.1700000000.host.1"])
  }

  @Test func aFolderThatCannotBeMadeIsReported() throws {
    let error = #expect(throws: FileError.self) { try TensorBoardWriter(folder: folder("absent/tb")) }
    #expect(error?.description.contains("absent/tb: cannot create the folder") == true)
  }
}
