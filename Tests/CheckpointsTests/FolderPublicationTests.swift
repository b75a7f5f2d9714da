import Foundation
import KalsaeCheckpoints
import Testing

@Suite struct FolderPublicationTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test(arguments: ["step-10", "step-10/"]) func aFolderAppearsComplete(name: String) throws {
    let result = try publishFolder(at: folder(name)) { temporary in
      #expect(temporary == folder(".tmp-step-10"))
      try FileManager.default.createDirectory(atPath: temporary + "/unet", withIntermediateDirectories: false)
      try AtomicFile.write("{}".utf8, to: temporary + "/unet/config.json")
      #expect(try folder.names == [".tmp-step-10"])
      return 7
    }
    #expect(result == 7)
    #expect(try folder.names == ["step-10"])
    #expect(try folder.read("step-10/unet/config.json") == Array("{}".utf8))
  }

  @Test func aFailureLeavesNothing() throws {
    struct Refusal: Error {}
    #expect(throws: Refusal.self) {
      try publishFolder(at: folder("step-10")) { temporary in
        try AtomicFile.write("{}".utf8, to: temporary + "/config.json")
        throw Refusal()
      }
    }
    #expect(try folder.names == [])
  }

  @Test func anExistingFolderIsNeverReplaced() throws {
    try publishFolder(at: folder("model")) { try AtomicFile.write("1".utf8, to: $0 + "/a") }
    let error = #expect(throws: FileError.self) {
      try publishFolder(at: folder("model")) { _ in Issue.record("the body must not run") }
    }
    #expect(error?.code == EEXIST && error?.description.contains("choose another name") == true)
    #expect(try folder.read("model/a") == Array("1".utf8))
  }

  @Test func remaindersOfAnInterruptedRunGo() throws {
    let manager = FileManager.default
    try manager.createDirectory(atPath: folder(".tmp-step-10/unet"), withIntermediateDirectories: true)
    try folder.write("half".utf8, ".tmp-step-10/unet/half")
    try publishFolder(at: folder("step-10")) { temporary in
      let names = try manager.contentsOfDirectory(atPath: temporary)
      #expect(names.isEmpty)
    }
    try manager.createDirectory(atPath: folder(".tmp-step-20"), withIntermediateDirectories: true)
    try folder.write("half".utf8, ".w.safetensors.tmp-0123abcd")
    try folder.write("kept".utf8, ".hidden")
    // A link to a folder outside is removed, what it points to is not.
    try manager.createDirectory(atPath: folder("outside"), withIntermediateDirectories: true)
    try folder.write("kept".utf8, "outside/a")
    try manager.createSymbolicLink(
      atPath: folder(".tmp-step-20/link"), withDestinationPath: folder("outside"))
    #expect(
      try removeStaleTemporaries(in: folder.path).sorted() == [".tmp-step-20", ".w.safetensors.tmp-0123abcd"])
    #expect(try folder.names == [".hidden", "outside", "step-10"])
    #expect(try folder.read("outside/a") == Array("kept".utf8))
  }

  @Test func anAtomicFileThatIsDroppedLeavesNothing() throws {
    try folder.write("old".utf8, "a")
    do {
      let file = try AtomicFile(path: folder("a"))
      try file.write("new".utf8)
      #expect(try folder.names.count == 2)
    }
    #expect(try folder.names == ["a"])
    #expect(try folder.read("a") == Array("old".utf8))
    try AtomicFile.write("new".utf8, to: folder("a"))
    #expect(try folder.read("a") == Array("new".utf8))
  }
}
