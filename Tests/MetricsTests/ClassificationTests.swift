import Foundation
import KalsaeMetrics
import Testing

@Suite struct ClassificationTests {
  @Test(arguments: Fixture.all.classifications)
  func scoresAreScikitLearns(_ entry: Fixture.Classes) {
    var result = Classification(classes: entry.classes)
    // In two parts, as batches come.
    let half = entry.labels.count / 2
    result.add(Array(entry.predictions[..<half]), Array(entry.labels[..<half]))
    result.add(Array(entry.predictions[half...]), Array(entry.labels[half...]))
    #expect(result.count == entry.labels.count)
    #expect(isClose(result.accuracy, entry.accuracy))
    for label in 0..<entry.classes {
      #expect(isClose(result.precision(label), entry.by_class[0][label]), "class \(label)")
      #expect(isClose(result.recall(label), entry.by_class[1][label]), "class \(label)")
      #expect(isClose(result.f1(label), entry.by_class[2][label]), "class \(label)")
    }
    #expect(isClose(result.macroPrecision, entry.macro[0]))
    #expect(isClose(result.macroRecall, entry.macro[1]))
    #expect(isClose(result.macroF1, entry.macro[2]))
  }

  @Test func nothingCountedIsZero() {
    let result = Classification(classes: 3)
    #expect(result.accuracy == 0 && result.macroF1 == 0 && result.f1(2) == 0)
  }

  @Test func perplexityWeighsByTokens() {
    var text = Perplexity()
    #expect(text.loss.isNaN)
    text.add(loss: .nan, count: 0)
    text.add(loss: log(8), count: 30)
    text.add(loss: log(2), count: 10)
    #expect(text.count == 40)
    #expect(isClose(text.loss, 2.5 * log(2)))
    #expect(isClose(text.perplexity, pow(2, 2.5)))
    // A model that knows nothing of 65 characters.
    var uniform = Perplexity()
    uniform.add(loss: log(65), count: 7)
    #expect(isClose(uniform.perplexity, 65))
  }
}
