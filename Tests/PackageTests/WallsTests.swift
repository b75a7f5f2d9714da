import Foundation
import Testing

/// The walls between modules: which module may import which, read from the sources themselves.
@Suite struct WallsTests {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// What each folder under Sources may import besides the standard library's own modules.
  static let allowed: [String: Set<String>] = {
    let foundation: Set = [
      "Foundation", "FoundationEssentials", "Synchronization", "Glibc", "Musl", "Darwin",
    ]
    let libc: Set = ["Synchronization", "Glibc", "Musl", "Darwin"]
    let tensors: Set = ["KalsaeTensors"]
    let compiler = tensors.union(["KalsaeCompiler"])
    let runtime = compiler.union(["KalsaeRuntime"])
    let mathematics = tensors.union(libc)
    let checkpoints = runtime.union(["KalsaeNeural", "KalsaeFormats"]).union(foundation)
    let models = mathematics.union(["KalsaeNeural", "KalsaeCheckpoints"])
    let pipelines = runtime.union(models).union(["KalsaeDiffusion", "KalsaeModels", "KalsaeData"]).union(
      foundation)
    return [
      "Tensors": libc,
      "Compiler": tensors,
      "Runtime": compiler.union(libc).union(["CBackendHook"]),
      "ReferenceBackend": runtime.union(libc),
      "CPUBackend": runtime.union(libc).union(["COneDNN", "CKernels"]),
      "Neural": mathematics,
      "Diffusion": mathematics,
      "Metrics": mathematics,
      "Formats": tensors.union(foundation).union(["CZlib"]),
      "Checkpoints": checkpoints,
      "Tokenizers": tensors.union(foundation).union(["KalsaeFormats"]),
      "Data": tensors.union(foundation).union(["CPNG", "CTurboJPEG", "CZlib"]),
      "Models": models,
      "Pipelines": pipelines,
      "Generation": runtime.union(models).union(["KalsaeModels", "KalsaeTokenizers", "KalsaeData"]).union(
        foundation),
      "Training": pipelines.union(["KalsaeTokenizers", "KalsaeMetrics", "KalsaeGeneration"]).union([
        "KalsaePipelines", "Logging", "SwiftProtobuf",
      ]),
      "Inspection": pipelines.union([
        "KalsaeFormats", "KalsaeTokenizers", "KalsaeGeneration", "KalsaePipelines", "KalsaeTraining",
      ]),
      "Measurement": pipelines.union(["KalsaeCPUBackend", "KalsaeGeneration"]),
    ]
  }()

  static func files(in folder: String, _ suffix: String = ".swift") -> [URL] {
    let base = root.appending(path: folder)
    let paths = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
    return paths.filter { $0.hasSuffix(suffix) }.sorted().map { base.appending(path: $0) }
  }

  static func lines(_ file: URL) throws -> [Substring] {
    try String(contentsOf: file, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
  }

  @Test func everyModuleImportsOnlyWhatItMay() throws {
    for (folder, allowed) in Self.allowed {
      let files = Self.files(in: "Sources/" + folder)
      #expect(!files.isEmpty, "Sources/\(folder) is gone: change the table")
      for file in files where !file.lastPathComponent.hasSuffix(".pb.swift") {
        for line in try Self.lines(file) {
          let words = line.split(separator: " ")
          guard let place = words.firstIndex(of: "import"), place <= 2, words.count > place + 1,
            words[..<place].allSatisfy({ $0.hasPrefix("@") || $0 == "public" || $0 == "internal" })
          else { continue }
          let module = String(words.last!.split(separator: ".")[0])
          #expect(
            allowed.contains(module), "\(file.lastPathComponent) of \(folder) must not import \(module)")
        }
      }
    }
  }

  @Test func everyFolderIsInTheTable() throws {
    let free: Set = [
      "Kalsae", "CommandLine", "CKernels", "COneDNN", "CBackendHook", "CBuildCommit", "CPNG", "CTurboJPEG",
      "CZlib",
    ]
    let folders = try FileManager.default.contentsOfDirectory(
      atPath: Self.root.appending(path: "Sources").path)
    for folder in folders where !folder.hasPrefix(".") {
      #expect(Self.allowed[folder] != nil || free.contains(folder), "Sources/\(folder) has no walls")
    }
  }

  @Test func platformsAreToldApartOnlyAtTheEdges() throws {
    for folder in Self.allowed.keys where !["Runtime", "CPUBackend", "ReferenceBackend"].contains(folder) {
      for file in Self.files(in: "Sources/" + folder) {
        for line in try Self.lines(file) {
          #expect(
            !line.contains("#if os("), "\(file.lastPathComponent) of \(folder) tells operating systems apart")
        }
      }
    }
  }

  @Test func filesStayReadable() throws {
    for file in Self.files(in: "Sources") where !file.lastPathComponent.hasSuffix(".pb.swift") {
      let count = try Self.lines(file).count
      #expect(count <= 401, "\(file.lastPathComponent) has \(count) lines: is it one thing?")
    }
  }

  @Test func dependentsCanBuild() throws {
    let manifest = try String(contentsOf: Self.root.appending(path: "Package.swift"), encoding: .utf8)
    #expect(!manifest.contains("unsafeFlags"), "a package with unsafe flags cannot be depended on by version")
  }
}
