import Foundation
import KalsaeCheckpoints
import KalsaeTraining
import Testing

@Suite struct MetricsLogTests {
  let folder: TemporaryFolder
  var path: String { folder("metrics.jsonl") }

  init() throws { folder = try TemporaryFolder() }

  @Test func writesOneLineAStep() throws {
    let log = try MetricsLog(path: path)
    try log.append(step: 1, ["loss": JSON(Float(0.1)), "images": 16])
    #expect(try folder.text("metrics.jsonl") == "{\"step\":1,\"loss\":0.1,\"images\":16}\n")
    try log.append(step: 2, ["loss": JSON(Float.nan)])
    #expect(
      try folder.text("metrics.jsonl")
        == "{\"step\":1,\"loss\":0.1,\"images\":16}\n{\"step\":2,\"loss\":null}\n")
    try log.synchronize()
  }

  @Test func aNewRunRefusesAnOldLog() throws {
    try folder.write("{\"step\":1}\n", "metrics.jsonl")
    let error = #expect(throws: FileError.self) { try MetricsLog(path: path) }
    #expect(error?.code == EEXIST)
    #expect(try folder.text("metrics.jsonl") == "{\"step\":1}\n")
  }

  /// What a killed run may leave, and what resuming after step 20 makes of it.
  @Test(arguments: [
    ("", "", 0),
    ("{\"step\":10}\n{\"step\":20}\n", "{\"step\":10}\n{\"step\":20}\n", 0),
    ("{\"step\":10}\n{\"step\":20}\n{\"step\":21}\n{\"step\":30}\n", "{\"step\":10}\n{\"step\":20}\n", 2),
    ("{\"step\":10}\n{\"step\":20,\"lo", "{\"step\":10}\n", 1),
    ("{\"step\":10}\n{\"step\":20}", "{\"step\":10}\n{\"step\":20}\n", 0),
    ("{\"step\":10}\n{\"step\":2", "{\"step\":10}\n", 1),
    ("{\"step\":10}\n\0\0\0\0", "{\"step\":10}\n", 1),
    ("{\"loss\":1}\n[]\n{\"step\":1.5}\n{\"step\":5}\n", "{\"step\":5}\n", 3),
    ("{\"step\":5}\r\n\n{\"step\":6}\n", "{\"step\":5}\r\n{\"step\":6}\n", 0),
  ])
  func resumingRemovesWhatComesAgain(old: String, kept: String, removed: Int) throws {
    try folder.write(old, "metrics.jsonl")
    let log = try MetricsLog(path: path, resumingAfter: 20)
    #expect(log.removedLines == removed)
    #expect(try folder.text("metrics.jsonl") == kept)
    try log.append(step: 21, [:])
    #expect(try folder.text("metrics.jsonl") == kept + "{\"step\":21}\n")
    #expect(try folder.names == ["metrics.jsonl"])
  }

  @Test func resumingWithoutALogStartsOne() throws {
    let log = try MetricsLog(path: path, resumingAfter: 20)
    try log.append(step: 21, [:])
    #expect(try folder.text("metrics.jsonl") == "{\"step\":21}\n")
  }

  #if os(Linux)
    @Test func aFullDiskIsReported() throws {
      try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/full")
      let log = try AppendFile(path: path)
      let error = #expect(throws: FileError.self) { try log.append(Array("line\n".utf8)) }
      #expect(error?.code == ENOSPC && error?.description.contains("free some space") == true)
    }
  #endif
}
