import Foundation
import KalsaeData
import Testing

@Suite struct TextFileTests {
  let folder = try! TemporaryFolder()

  func write(_ text: String, _ name: String = "a.txt") throws -> String {
    try folder.write(name, Array(text.utf8))
  }

  @Test func readsTextPlainAndPacked() throws {
    let text = "Zwei Hunde.\r\n\n나는 간다\n"
    #expect(try TextFile.read(write(text)) == text)
    #expect(try TextFile.lines(write(text)) == ["Zwei Hunde.", "", "나는 간다"])
    let packed = try folder.write("a.txt.gz", gzip(Array(text.utf8)))
    #expect(try TextFile.lines(packed) == ["Zwei Hunde.", "", "나는 간다"])
    #expect(try TextFile.lines(write("no end")) == ["no end"])
    let marked = try folder.write("b.txt", [0xEF, 0xBB, 0xBF] + Array("x\n".utf8))
    #expect(try TextFile.lines(marked) == ["x"])
  }

  @Test func composedAndDecomposedStayApart() throws {
    let scalars = Array(try TextFile.read(write("\u{E9}e\u{301}")).unicodeScalars)
    #expect(scalars == ["\u{E9}", "e", "\u{301}"])
  }

  /// The first wrong byte of: a lone continuation, Latin-1, a sequence cut short, an overlong form, a surrogate.
  @Test(arguments: [
    ([0x61, 0x80], 1, 1), ([0x61, 0x0A, 0x0A, 0x63, 0xE9, 0x20], 4, 3),
    ([0xEC, 0x82, 0x98, 0xEB, 0x8A], 3, 1),
    ([0x0A, 0xC0, 0xAF], 1, 2), ([0x61, 0x62, 0xED, 0xA0, 0x80], 2, 1), ([0xF5, 0x80, 0x80, 0x80], 0, 1),
  ])
  func wrongBytesAreNamed(_ bytes: [Int], _ offset: Int, _ line: Int) throws {
    let path = try folder.write("wrong.txt", bytes.map(UInt8.init))
    let error = DataError.notUTF8(path: path, byte: UInt8(bytes[offset]), offset: offset, line: line)
    #expect(throws: error) { try TextFile.read(path) }
    #expect(error.description.contains("\(path): not UTF-8: wrong byte 0x"))
    #expect(error.description.contains("at offset \(offset) (line \(line))"))
  }

  @Test(arguments: ["", " \n\t\r\n", "\u{3000}\u{A0}"])
  func emptyTextIsAnError(_ text: String) throws {
    let path = try write(text)
    #expect(throws: DataError.emptyText(path: path)) { try TextFile.read(path) }
  }

  @Test func missingFilesAreNamed() {
    #expect { try TextFile.read("/nowhere/a.txt") } throws: { "\($0)".hasPrefix("/nowhere/a.txt: ") }
  }

  @Test func parallelTextIsReadLineByLine() throws {
    let source = try write("eins\nzwei\n", "s.de"), target = try write("one\ntwo", "t.en")
    let text = try ParallelText(source: source, target: target)
    #expect(text.count == 2 && text.source == ["eins", "zwei"] && text.target == ["one", "two"])
    let short = try write("one\n", "u.en")
    let error = DataError.unequalLines(source: source, sourceCount: 2, target: short, targetCount: 1)
    #expect(throws: error) { try ParallelText(source: source, target: short) }
    #expect(error.description.contains("\(source) has 2 line(s), but \(short) has 1"))
  }

  @Test func labelledTextOfThreeForms() throws {
    let nsmc = try LabelledText(contentsOf: write("id\tdocument\tlabel\n7\t좋다 \"정말\t1\n8\t\t0\n"))
    #expect(nsmc.texts == ["좋다 \"정말", ""] && nsmc.labels == [1, 0] && nsmc.classes == 2)
    let sst2 = try LabelledText(contentsOf: write("sentence\tlabel\r\na fine film\t2\r\n"))
    #expect(sst2.texts == ["a fine film"] && sst2.labels == [0] && sst2.classNames == ["2"])
    let plain = try LabelledText(contentsOf: write("a fine film\t1\nbad\t0"))
    #expect(plain.texts == ["a fine film", "bad"] && plain.labels == [1, 0])
  }

  @Test func labelsAreNumbersOrNames() throws {
    let stars = try LabelledText(contentsOf: write("text\tlabel\na\t10\nb\t-1\nc\t9\nd\t10\n"))
    #expect(stars.classNames == ["-1", "9", "10"] && stars.labels == [2, 0, 1, 2])
    let names = try LabelledText(contentsOf: write("label\treview\ngood\ta\nbad\tb\ngood\tc\n"))
    #expect(names.classNames == ["bad", "good"] && names.labels == [1, 0, 1] && names.classes == 2)
    // Known classes keep their numbers; what has a name may also be called by its number.
    let path = try write("text\tlabel\na\tgood\n")
    #expect(try LabelledText(contentsOf: path, classNames: ["bad", "so so", "good"]).labels == [2])
    let numbers = try write("text\tlabel\na\t1\nb\t0\n")
    #expect(try LabelledText(contentsOf: numbers, classNames: ["bad", "good"]).labels == [1, 0])
    #expect {
      try LabelledText(contentsOf: numbers, classNames: ["1", "2"])
    } throws: {
      "\($0)".hasSuffix("line 3: the label is \"0\", which is none of those learned: 1, 2")
    }
  }

  @Test func labelledTextIsDividedAndChosenFrom() throws {
    let rows = (0..<20).map { "text \($0)\t\($0 % 2)\n" }.joined()
    let all = try LabelledText(contentsOf: write("text\tlabel\n" + rows))
    let (training, test) = try all.split(fraction: 0.25)
    #expect(training.count == 15 && test.count == 5)
    #expect(Set(training.texts).union(test.texts) == Set(all.texts))
    #expect(try all.split(fraction: 0.25).test == test)
    let (some, others) = (try all.sample(8, seed: 1), try all.sample(8, seed: 2))
    #expect(some.count == 8 && Set(some.texts).count == 8 && some != others)
    for part in [training, test, some] {
      #expect(zip(part.texts, part.labels).allSatisfy { Int($0.split(separator: " ")[1])! % 2 == $1 })
    }
    #expect(throws: DataError.self) { try all.split(fraction: 0.01) }
    #expect(throws: DataError.self) { try all.sample(21, seed: 0) }
  }

  @Test(arguments: [
    ("sentence\tlabel\na\t1\nb\n", "line 3: 1 column(s) instead of 2"),
    ("sentence\tlabel\na\t1\nb\tgood\n", "line 3: the label is \"good\", but others are like \"1\""),
    ("sentence\tlabel\na\tgood\nb\t1\n", "line 3: the label is \"1\", but others are like \"good\""),
    ("sentence\tlabel\na\t\n", "line 2: the label is \"\", neither a whole number"),
    ("sentence\tlabel\na\t4.5\n", "line 2: the label is \"4.5\", neither a whole number"),
    ("only text\n", "line 1: neither a header"), ("text\tclass\na\t1\n", "line 1: neither a header"),
    ("sentence\tlabel\n", "holds no text"),
  ])
  func wrongTablesAreExplained(_ text: String, _ message: String) throws {
    let path = try write(text, "t.tsv")
    #expect { try LabelledText(contentsOf: path) } throws: {
      "\($0)".hasPrefix(path) && "\($0)".contains(message)
    }
  }

  @Test(.enabled(if: RealData.nsmc, "set KALSAE_DATA to a folder with nsmc and sst2"))
  func realTables() throws {
    let root = RealData.folder!
    let train = try LabelledText(contentsOf: root + "/nsmc/ratings_train_30k.txt")
    #expect(train.count == 30_000 && train.labels.reduce(0, +) == 15_000 && train.classes == 2)
    let dev = try LabelledText(contentsOf: root + "/sst2/dev.tsv")
    #expect(dev.count == 872 && dev.labels.reduce(0, +) == 444)
  }

  @Test(.enabled(if: RealData.multi30k, "set KALSAE_DATA to a folder with multi30k"))
  func realParallelText() throws {
    let folder = RealData.folder! + "/multi30k/"
    let text = try ParallelText(source: folder + "train.de.gz", target: folder + "train.en.gz")
    #expect(text.count == 29_000)
    #expect(throws: DataError.self) {
      try ParallelText(source: folder + "train.de.gz", target: folder + "val.en.gz")
    }
  }
}
