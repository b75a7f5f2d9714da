import Foundation
import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// Every op of the library is in the catalog.
@Suite struct CompletenessTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The names of the structs under `Sources/<module>` that conform to a protocol called `...Op`.
  private static func declaredOps(in module: String) throws -> Set<String> {
    let folder = root.appending(path: "Sources/" + module)
    let files = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
    let declaration = /struct (?<name>\w+)\s*:\s*(?<protocols>[^{]*)\{/
    var names: Set<String> = []
    for case let file as URL in files where file.pathExtension == "swift" {
      for match in try String(contentsOf: file, encoding: .utf8).matches(of: declaration) {
        let protocols = match.output.protocols.split(separator: ",").map {
          $0.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        if protocols.contains(where: { $0.hasSuffix("Op") }) { names.insert(String(match.output.name)) }
      }
    }
    return names
  }

  @Test func everyOpHasAnEntry() throws {
    let declared = try Self.declaredOps(in: "Tensors")
    #expect(declared.count > 40, "the search itself works")
    let covered = Set(OpCatalog.all.compactMap(\.opName))
    // Leaves are the inputs of every entry; random numbers have tests of their own.
    #expect(declared.subtracting(covered).sorted() == ["Leaf", "Random"])
    #expect(covered.subtracting(declared).isEmpty, "the catalog names ops that do not exist")
  }

  @Test func theReferenceBackendHasEveryPrimitive() throws {
    var names = Set<String>()
    for entry in OpCatalog.all {
      let inputs = entry.arrays().map { $0.tensor() }
      for node in postOrder(entry(inputs)) where !(node.op is any CompositeOp) && !(node.op is Leaf) {
        #expect(node.op is any ReferenceOp, "\(type(of: node.op).name)")
        names.insert(type(of: node.op).name)
      }
    }
    #expect(names.count > 25)
  }

  @Test func namesAreUnique() {
    let names = OpCatalog.all.map(\.name)
    let repeated = Dictionary(grouping: names, by: { $0 }).filter { $0.value.count > 1 }.keys
    #expect(repeated.isEmpty, "one name, one sample: \(repeated.sorted())")
  }
}
