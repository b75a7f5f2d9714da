// swift-tools-version: 6.1
import PackageDescription

/// A folder under `Sources/` is the module `Kalsae` + folder; every library module is a product.
func module(_ folder: String, _ dependencies: [Target.Dependency] = [], linkerSettings: [LinkerSetting] = [])
  -> Target
{
  .target(
    name: "Kalsae" + folder, dependencies: dependencies, path: "Sources/" + folder,
    swiftSettings: settings, linkerSettings: linkerSettings)
}

func tests(_ folder: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .testTarget(
    name: "Kalsae" + folder + "Tests", dependencies: dependencies, path: "Tests/" + folder + "Tests",
    swiftSettings: settings)
}

/// A short program of `Examples/`.
func example(_ name: String) -> Target {
  .executableTarget(name: name, dependencies: ["Kalsae"], path: "Examples/" + name)
}

func own(_ folders: String...) -> [Target.Dependency] { folders.map { .init(stringLiteral: "Kalsae" + $0) } }

/// The commit this is built from, "+" when files have changed since; nothing outside git. SwiftPM keeps a manifest's
/// answer until the manifest or the environment changes, so `make` says the commit in a variable.
let commit: [CSetting] = {
  if let name = Context.environment["KALSAE_COMMIT"], !name.isEmpty {
    return [.define("KALSAE_COMMIT", to: name)]
  }
  guard let git = Context.gitInformation else { return [] }
  return [.define("KALSAE_COMMIT", to: git.currentCommit.prefix(12) + (git.hasUncommittedChanges ? "+" : ""))]
}()

let settings: [SwiftSetting] = [.enableUpcomingFeature("MemberImportVisibility")]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")

let libraries: [Target] = [
  module("Tensors"),
  module("Compiler", own("Tensors")),
  module("Runtime", own("Tensors", "Compiler") + ["CBackendHook"]),
  module("ReferenceBackend", own("Tensors", "Compiler", "Runtime")),
  module("CPUBackend", own("Tensors", "Compiler", "Runtime") + ["COneDNN", "CKernels"]),
  module("Neural", own("Tensors")),
  module("Diffusion", own("Tensors")),
  module("Metrics", own("Tensors")),
  module("Formats", own("Tensors") + ["CZlib"]),
  module("Checkpoints", own("Tensors", "Compiler", "Runtime", "Neural", "Formats")),
  module("Tokenizers", own("Tensors", "Formats")),
  module("Data", own("Tensors") + ["CPNG", "CTurboJPEG", "CZlib"]),
  module("Models", own("Tensors", "Neural", "Checkpoints")),
  module("Generation", own("Tensors", "Runtime", "Neural", "Checkpoints", "Tokenizers", "Data", "Models")),
  module("Pipelines", own("Tensors", "Runtime", "Neural", "Diffusion", "Checkpoints", "Data", "Models")),
  module(
    "Measurement",
    own(
      "Tensors", "Compiler", "Runtime", "CPUBackend", "Neural", "Diffusion", "Checkpoints", "Data", "Models",
      "Generation")),
  module(
    "Training",
    own(
      "Tensors", "Compiler", "Runtime", "Neural", "Diffusion", "Checkpoints", "Tokenizers", "Data", "Metrics",
      "Models", "Generation", "Pipelines") + [logging, protobuf]),
  module(
    "Inspection",
    own(
      "Tensors", "Runtime", "Neural", "Formats", "Checkpoints", "Tokenizers", "Data", "Models", "Generation",
      "Pipelines",
      "Training")),
]

let package = Package(
  name: "kalsae",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "kalsae", targets: ["KalsaeCommandLine"]),
    .library(name: "Kalsae", targets: ["Kalsae"]),
  ] + libraries.map { .library(name: $0.name, targets: [$0.name]) },
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
  ],
  targets: libraries + [
    .target(name: "CBackendHook", path: "Sources/CBackendHook"),
    // Apart, so that a new commit rebuilds only the tool that names it.
    .target(name: "CBuildCommit", path: "Sources/CBuildCommit", cSettings: commit),
    .target(
      name: "CKernels", path: "Sources/CKernels",
      linkerSettings: [.linkedLibrary("gomp"), .linkedLibrary("m")]),
    .target(
      name: "COneDNN", path: "Sources/COneDNN",
      linkerSettings: [.linkedLibrary("dnnl"), .linkedLibrary("gomp")]),
    .systemLibrary(
      name: "CPNG", path: "Sources/CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
    .systemLibrary(
      name: "CTurboJPEG", path: "Sources/CTurboJPEG", pkgConfig: "libturbojpeg",
      providers: [.apt(["libturbojpeg0-dev"])]),
    .systemLibrary(
      name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(
      name: "Kalsae",
      dependencies: own(
        "Tensors", "Compiler", "Runtime", "ReferenceBackend", "CPUBackend", "Neural", "Diffusion", "Metrics",
        "Formats", "Checkpoints", "Tokenizers", "Data", "Models", "Generation", "Pipelines", "Training",
        "Inspection", "Measurement"),
      path: "Sources/Kalsae", swiftSettings: settings),
    .executableTarget(
      name: "KalsaeCommandLine",
      dependencies: ["Kalsae", "CBuildCommit", argumentParser, logging]
        + own(
          "CPUBackend", "Measurement", "Formats", "Checkpoints", "Tokenizers", "Data", "Diffusion",
          "Generation", "Inspection", "Metrics", "Models", "Pipelines", "Runtime", "Tensors",
          "Training"),
      path: "Sources/CommandLine", swiftSettings: settings),
    example("TrainShapes"),
    example("TrainGPT"),
    example("AttentionOnOneSentence"),
    example("TranslateNumbers"),
    tests("Tensors", own("Tensors")),
    tests("Compiler", own("Tensors", "Compiler", "Runtime", "CPUBackend")),
    tests("Backend", own("Tensors", "Compiler", "Runtime", "ReferenceBackend", "CPUBackend", "Checkpoints")),
    tests("Kernels", ["CKernels", "COneDNN"]),
    tests("Neural", ["Kalsae"]),
    tests("Diffusion", ["Kalsae"]),
    tests("Metrics", ["Kalsae"]),
    tests("Checkpoints", ["Kalsae"]),
    tests("Tokenizers", ["Kalsae"] + own("Tokenizers")),
    tests("Data", ["Kalsae"]),
    tests("Models", ["Kalsae"] + own("Measurement")),
    tests("Generation", ["Kalsae"]),
    // Counts the allocations of the test process.
    .target(name: "CMallocCount", path: "Tests/Support/CMallocCount"),
    tests(
      "Measurement",
      ["Kalsae", "CMallocCount"]
        + own(
          "Tensors", "Compiler", "Runtime", "CPUBackend", "ReferenceBackend", "Neural", "Models", "Diffusion",
          "Measurement")),
    tests("Training", ["Kalsae"]),
    tests("Inspection", ["Kalsae"]),
    tests("CommandLine", ["Kalsae", "KalsaeCommandLine"]),
    tests("Package", ["Kalsae", "KalsaeCommandLine"]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)
