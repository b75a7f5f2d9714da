import KalsaeData
import Testing

@Suite struct CorpusTests {
  let folder = try! TemporaryFolder()

  func write(_ text: String, _ name: String = "a.txt") throws -> String {
    try folder.write(name, Array(text.utf8))
  }

  @Test func linesAreSentencesAndEmptyLinesEndDocuments() throws {
    let first = try write("one\ntwo\n\n \t\nthree\n", "a.txt"), second = try write("four", "b.txt")
    let corpus = try Corpus(contentsOf: [first, second])
    #expect(corpus.documents == [["one", "two"], ["three"], ["four"]])
    #expect(corpus.count == 4 && corpus.name == "2 files")
    #expect(try Corpus(contentsOf: [first]).name == first)
  }

  @Test func tablesGiveTheirTexts() throws {
    let korean = try write("id\tdocument\tlabel\n1\t정말 좋다\t1\n2\t \t0\n3\t별로다\t0\n", "ratings.txt")
    #expect(Corpus.isTable(korean))
    #expect(try Corpus(contentsOf: [korean]).documents == [["정말 좋다"], ["별로다"]])
    let plain = try write("good\t1\nbad\t0\n", "b.tsv")
    #expect(try Corpus(contentsOf: [plain]).documents == [["good"], ["bad"]])
    // Without a header only the name says that it is a table.
    let text = try write("good\t1\nbad\t0\n", "b.txt")
    #expect(!Corpus.isTable(text))
    #expect(try Corpus(contentsOf: [text]).documents == [["good\t1", "bad\t0"]])
    let broken = try write("id\tdocument\tlabel\n1\tx\n", "c.txt")
    #expect { try Corpus(contentsOf: [broken]) } throws: { "\($0)".contains("line 2") }
  }

  @Test func nothingToReadIsAnError() throws {
    let empty = try write(" \n\n")
    #expect(throws: DataError.emptyText(path: empty)) { try Corpus(contentsOf: [empty]) }
    let header = try write("document\tlabel\n \t1\n", "b.tsv")
    #expect { try Corpus(contentsOf: [header]) } throws: { "\($0)".contains("b.tsv") }
    #expect { try Corpus(contentsOf: ["/nowhere/a.tsv"]) } throws: { "\($0)".hasPrefix("/nowhere/a.tsv") }
  }

  @Test func theLastPartIsHeldOut() throws {
    let corpus = Corpus(documents: [["a", "b", "c"], ["d"], ["e", "f"]], name: "x")
    let lines = try corpus.split(validationFraction: 0.3, wholeDocuments: false)
    #expect(lines.training.documents == [["a", "b", "c"], ["d"]])
    #expect(lines.validation.documents == [["e", "f"]])
    let half = try corpus.split(validationFraction: 0.67, wholeDocuments: false)
    #expect(half.training.documents == [["a", "b"]])
    #expect(half.validation.documents == [["c"], ["d"], ["e", "f"]])
    let whole = try corpus.split(validationFraction: 0.6, wholeDocuments: true)
    #expect(whole.training.documents == [["a", "b", "c"]])
    #expect(whole.validation.documents == [["d"], ["e", "f"]])
    // At least one is held out.
    let one = try corpus.split(validationFraction: 0.01, wholeDocuments: false)
    #expect(one.validation.documents == [["f"]])
    let single = Corpus(documents: [["a"]], name: "x")
    #expect { try single.split(validationFraction: 0.1, wholeDocuments: false) } throws: {
      "\($0)".contains("nothing is left to learn from") && "\($0)".contains("--validation-fraction 0")
    }
  }
}
