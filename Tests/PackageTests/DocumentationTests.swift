import Foundation
import KalsaeCheckpoints
import KalsaeModels
import KalsaeTraining
import Testing

/// What the pages say against what there is.
@Suite struct DocumentationTests {
  static func text(_ path: String) throws -> String {
    try String(contentsOf: WallsTests.root.appending(path: path), encoding: .utf8)
  }

  @Test func theReadmeShowsTheExampleThatIsBuilt() throws {
    let example = try Self.text("Examples/TrainShapes/main.swift")
    let start = try #require(example.range(of: "import Kalsae")).lowerBound
    #expect(try Self.text("README.md").contains("```swift\n" + example[start...] + "```"))
  }

  @Test func everyKeyOfTheConfigurationIsDescribed() throws {
    let page = try Self.text("Documentation/Configuration.md")
    var configuration = DDPMConfiguration()
    configuration.model = UNet2DConfig()
    let keys =
      configuration.json.map(\.key) + UNet2DConfig().json.map(\.key).filter { !$0.hasPrefix("_") }
    #expect(keys.count > 40)
    for key in keys {
      #expect(
        page.contains("| `\(key)` |") || page.contains("`, `\(key)` |") || page.contains("| `\(key)`, `"),
        "Configuration.md has no row on \(key)")
    }
  }

  /// Every key of a recipe is one that its task reads.
  @Test func everyRecipeIsAConfiguration() throws {
    let recipes = WallsTests.files(in: "Examples/recipes", ".json")
    #expect(recipes.count > 3)
    for recipe in recipes {
      let c = try ConfigJSON(path: recipe.path)
      switch try c("task", as: String.self) {
      case LanguageModelConfiguration.task: _ = try LanguageModelConfiguration(c)
      case TranslationConfiguration.task: _ = try TranslationConfiguration(c)
      case MaskedLanguageModelConfiguration.task: _ = try MaskedLanguageModelConfiguration(c)
      case ClassifierConfiguration.task: _ = try ClassifierConfiguration(c)
      case DDPMConfiguration.task: _ = try DDPMConfiguration(c)
      case let task: Issue.record("\(recipe.lastPathComponent): no kalsae train \(task)")
      }
    }
  }
}
