import Foundation
import KalsaeMetrics
import Testing

/// What sacrebleu and scikit-learn say of the same texts and classes.
struct Fixture: Decodable {
  struct Translation: Decodable, Sendable, CustomTestStringConvertible {
    let name: String
    let hypotheses: [String], references: [[String]]
    let bleu, brevity_penalty, chrf: Double
    let precisions: [Double], matches, totals: [Int]
    let hypothesis_length, reference_length: Int
    let text, bleu_signature, chrf_signature: String
    var testDescription: String { name }
  }
  struct Classes: Decodable, Sendable, CustomTestStringConvertible {
    let name: String
    let classes: Int, predictions, labels: [Int]
    let accuracy: Double, by_class: [[Double]], macro: [Double]
    var testDescription: String { name }
  }
  let translations: [Translation], classifications: [Classes]

  static let all: Fixture = {
    let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/metrics/metrics.json")
    return try! JSONDecoder().decode(Fixture.self, from: Data(contentsOf: path))
  }()
}

/// Equal within 1e-9 of the larger number.
func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-9 * max(abs(a), abs(b)) }

@Suite struct TranslationTests {
  @Test(arguments: Fixture.all.translations)
  func bleuIsSacrebleus(_ entry: Fixture.Translation) {
    let bleu = BLEU(entry.hypotheses, references: entry.references)
    #expect(isClose(bleu.score, entry.bleu), "\(bleu.score) for \(entry.bleu)")
    #expect(zip(bleu.precisions, entry.precisions).allSatisfy(isClose), "\(bleu.precisions)")
    #expect(isClose(bleu.brevityPenalty, entry.brevity_penalty))
    #expect(bleu.matches == entry.matches)
    #expect(bleu.totals == entry.totals)
    #expect(bleu.hypothesisLength == entry.hypothesis_length)
    #expect(bleu.referenceLength == entry.reference_length)
    #expect(bleu.description == entry.text)
    #expect(bleu.signature == entry.bleu_signature)
  }

  @Test(arguments: Fixture.all.translations)
  func chrFIsSacrebleus(_ entry: Fixture.Translation) {
    let chrF = ChrF(entry.hypotheses, references: entry.references)
    #expect(isClose(chrF.score, entry.chrf), "\(chrF.score) for \(entry.chrf)")
    #expect(chrF.signature == entry.chrf_signature)
  }

  @Test func theCasesAreManyAndDiffer() {
    #expect(Fixture.all.translations.count >= 25)
    #expect(Set(Fixture.all.translations.map { Int($0.bleu) }).count > 10, "not all trivial")
  }

  @Test func oneReferenceIsAList() {
    let (a, b) = (["a b c d e"], ["a b c d f"])
    #expect(BLEU(a, reference: b) == BLEU(a, references: [b]))
    #expect(ChrF(a, reference: b) == ChrF(a, references: [b]))
    #expect(ChrF(a, reference: a).score == 100)
    #expect(ChrF(a, reference: a).description == "chrF2 = 100.00")
  }
}
