import Foundation
import Testing

/// The manual page against the tool: every subcommand and every long option is described.
@Suite struct ManualTests {
  /// The tool, which is built beside the tests' bundle.
  static let tool: URL? = {
    let places =
      [Bundle.main.bundleURL, Bundle.main.executableURL?.deletingLastPathComponent()].compactMap(\.self)
      + CommandLine.arguments.compactMap { argument -> URL? in
        // `swift test` names the bundle of tests, which lies in the folder of products.
        argument.hasSuffix(".xctest") ? URL(filePath: argument).deletingLastPathComponent() : nil
      }
    return places.map { $0.appending(path: "kalsae") }.first {
      FileManager.default.isExecutableFile(atPath: $0.path)
    }
  }()

  struct Dump: Decodable {
    let command: Command
  }

  struct Command: Decodable {
    let commandName: String
    let arguments: [Argument]?
    let subcommands: [Command]?
    /// This command and those below it.
    var all: [Command] { [self] + (subcommands ?? []).flatMap(\.all) }
  }

  struct Argument: Decodable {
    let names: [Name]?
  }

  struct Name: Decodable {
    let kind: String, name: String
  }

  /// What the tool says about itself.
  static func commands(of tool: URL) throws -> [Command] {
    let process = Process(), output = Pipe()
    process.executableURL = tool
    process.arguments = ["--experimental-dump-help"]
    process.standardOutput = output
    try process.run()
    let json = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return try JSONDecoder().decode(Dump.self, from: json).command.all
  }

  /// The sections of the page by their heading, roff's escapes taken out.
  static func sections() throws -> [String: String] {
    let path = WallsTests.root.appending(path: "Documentation/kalsae.1")
    let text = try String(contentsOf: path, encoding: .utf8).replacing("\\-", with: "-")
    var sections: [String: String] = [:], heading = ""
    for line in text.split(separator: "\n") {
      if line.hasPrefix(".SH ") { heading = String(line.dropFirst(4)) }
      sections[heading, default: ""] += line + "\n"
    }
    return sections
  }

  /// Whether `option` stands there in full, not as the beginning of a longer one.
  static func names(_ option: String, in text: String) -> Bool {
    text.ranges(of: option).contains { range in
      let next = range.upperBound < text.endIndex ? text[range.upperBound] : " "
      return !next.isLetter && !next.isNumber && next != "-"
    }
  }

  @Test(
    .enabled(
      if: ManualTests.tool != nil, "kalsae is not built beside the tests: swift build --product kalsae"))
  func everyCommandAndOptionIsDescribed() throws {
    let sections = try Self.sections()
    let common = try #require(sections["OPTIONS OF EVERY COMMAND"])
    let commands = try Self.commands(of: #require(Self.tool))
    #expect(commands.count > 5)
    let root = try #require(commands.first)
    for top in root.subcommands ?? [] where top.commandName != "help" {
      let section = try #require(
        sections[top.commandName.uppercased()], "kalsae.1 has no section on \(top.commandName)")
      for command in top.all {
        #expect(
          command.commandName == top.commandName
            || section.contains("\(top.commandName) \(command.commandName)"),
          "kalsae.1 does not mention \(top.commandName) \(command.commandName)")
        for name in (command.arguments ?? []).flatMap({ $0.names ?? [] }) where name.kind == "long" {
          #expect(
            Self.names("--" + name.name, in: section) || Self.names("--" + name.name, in: common),
            "kalsae.1 does not describe --\(name.name) of \(command.commandName)")
        }
      }
    }
  }
}
