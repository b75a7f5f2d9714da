import Foundation
import Kalsae
import Testing

/// Language models and translators as a library: what they learn, and that their steps are known after a few graphs.
@Suite(.serialized) struct TextTaskTests {
  let place: TemporaryFolder

  init() throws { place = try TemporaryFolder() }

  /// The loss of each step, and how many graphs were built.
  private func train<Task: TrainingTask>(
    _: Task.Type, _ configuration: Task.Configuration
  ) throws -> (losses: [Double], graphs: Int) {
    try Backends.with(.cpu(threads: 1)) {
      let trainer = try Trainer<Task>(
        configuration, in: RunFolder(place("run")), resuming: false, threads: 1
      ) { _ in }
      var losses: [Double] = []
      _ = try trainer.train(progress: { losses.append($0.loss) })
      return (losses, trainer.graphCount)
    }
  }

  @Test func aLanguageModelLearnsALine() throws {
    try place.write(String(repeating: "the swift flies over the sea. ", count: 60), "text.txt")
    var c = LanguageModelConfiguration()
    (c.text, c.contextLength, c.batchSize) = ([place("text.txt")], 16, 8)
    (c.steps, c.warmup, c.learningRate, c.evaluateEvery, c.dropout) = (60, 5, 1e-2, 1000, 0.1)
    var model = LanguageModelConfiguration.standardModel(vocabulary: 15, context: 16, dropout: 0.1)
    (model.n_layer, model.n_head, model.n_embd) = (1, 2, 32)
    c.model = model
    let (losses, graphs) = try train(LanguageModelTask.self, c)
    #expect(losses[0] > 2 && losses[59] < 1, "\(losses[0]) at first, \(losses[59]) at last")
    #expect(graphs == 2)
  }

  @Test func aTranslatorLearnsPairs() throws {
    // Two lengths, so that two shapes take turns.
    let pairs = [("one two", "eins zwei"), ("three four five six", "drei vier fuenf sechs")]
    let lines = (0..<64).map { pairs[$0 % 2] }
    try place.write(lines.map(\.0).joined(separator: "\n"), "en.txt")
    try place.write(lines.map(\.1).joined(separator: "\n"), "de.txt")
    var c = TranslationConfiguration()
    (c.source, c.target, c.vocabularySize) = (place("en.txt"), place("de.txt"), 300)
    (c.steps, c.batchSize, c.warmup, c.learningRate) = (60, 8, 5, 1e-2)
    (c.schedule, c.labelSmoothing, c.dropout, c.evaluateEvery) = (.cosine, 0, 0, 1000)
    var model = TranslationConfiguration.standardModel(dropout: 0)
    (model.d_model, model.nhead, model.dim_feedforward) = (32, 2, 64)
    (model.num_encoder_layers, model.num_decoder_layers) = (1, 1)
    c.model = model
    let (losses, graphs) = try train(TranslationTask.self, c)
    #expect(losses[0] > 3 && losses[59] < 0.5, "\(losses[0]) at first, \(losses[59]) at last")
    #expect(graphs < 10)
  }
}
