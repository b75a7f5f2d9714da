import KalsaeCheckpoints
import Testing

@Suite struct JSONTests {
  @Test func readsEveryKindOfValue() throws {
    let json = try JSON(
      parsing:
        #" {"n":null,"t":true,"f":false,"i":-12,"d":-1.5e-3,"a":[1,[],{}],"s":"\"\\\/\b\f\n\r\té\u00e9\ud834\udd1e"}  "#
        .utf8)
    let expected: JSON = [
      "n": nil, "t": true, "f": false, "i": -12, "d": -0.0015, "a": [1, [], [:]],
      "s": "\"\\/\u{8}\u{C}\n\r\té\u{E9}\u{1D11E}",
    ]
    #expect(json == expected)
  }

  @Test(arguments: [
    ("9223372036854775807", JSON.integer(.max)), ("-9223372036854775808", .integer(.min)),
    ("9223372036854775808", .double(9_223_372_036_854_775_808)), ("1.0", .double(1)), ("0.1", .double(0.1)),
    ("1e-4", .double(1e-4)), ("1E+2", .double(100)), ("5e-324", .double(.leastNonzeroMagnitude)),
    ("0", .integer(0)),
  ])
  func numbersAreExact(_ text: String, _ value: JSON) throws {
    #expect(try JSON(parsing: text.utf8) == value)
  }

  @Test(arguments: [
    "", " ", "nul", "tru", "+1", "01", "1.", ".5", "1e", "--1", "1e999", "[1,]", "[1 2]", "[,1]", "{,}",
    #"{"a":1,}"#,
    #"{"a" 1}"#, "{a:1}", #"{"a":1 "b":2}"#, "\"", #""\x""#, #""\u12""#, #""\u12g4""#, #""\udc00""#,
    #""\ud800\n""#,
    #""\ud800\ud800""#, "\"\n\"", "1 2", "[", "{", #"{"a""#, #"{"a":"#, #"{"a":1,"a":2}"#, "NaN", "'a'", "]",
    "}",
  ])
  func rejects(_ text: String) {
    #expect(throws: JSONError.self) { try JSON(parsing: text.utf8) }
  }

  @Test func errorsSayWhere() {
    let error = #expect(throws: JSONError.self) { try JSON(parsing: "{\n  \"a\": 1,\n  \"b\": ?\n}".utf8) }
    #expect(error == JSONError(line: 3, column: 8, message: "expected a value, found '?'"))
  }

  @Test func depthIsBounded() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    _ = try JSON(parsing: nested(128).utf8)
    for text in [nested(129), nested(1_000_000), String(repeating: #"{"a":"#, count: 1_000_000)] {
      let error = #expect(throws: JSONError.self) { try JSON(parsing: text.utf8) }
      #expect(error?.message.contains("128") == true)
    }
  }

  @Test func aLongRunOfEscapesTakesLinearTime() throws {
    let text = "\"" + String(repeating: #"\n"#, count: 1_000_000) + "\""
    #expect(try JSON(parsing: text.utf8) == .string(String(repeating: "\n", count: 1_000_000)))
  }

  @Test func writesOneLine() {
    let json: JSON = [
      "b": [1, 2.5, nil], "a": ["é": "\u{1}\"\\\n", "nan": .double(.nan)], "empty": [:], "one": 1.0,
    ]
    #expect(json.text == #"{"b":[1,2.5,null],"a":{"é":"\u0001\"\\\n","nan":null},"empty":{},"one":1.0}"#)
    #expect(
      json.sorted().text == #"{"a":{"nan":null,"é":"\u0001\"\\\n"},"b":[1,2.5,null],"empty":{},"one":1.0}"#)
  }

  @Test func writesManyLines() {
    let json: JSON = ["channels": [128, 256], "nested": ["a": true, "none": [:]], "rows": [[1], []]]
    let expected = """
      {
        "channels": [128, 256],
        "nested": {
          "a": true,
          "none": {}
        },
        "rows": [
          [1],
          []
        ]
      }

      """
    #expect(json.prettyText == expected)
  }

  @Test func whatIsWrittenReadsTheSame() throws {
    var random = SplitMix(state: 2)
    func value(_ depth: Int) -> JSON {
      switch Int.random(in: 0..<(depth > 3 ? 5 : 7), using: &random) {
      case 0: return .null
      case 1: return .bool(.random(using: &random))
      case 2: return .integer(Int(truncatingIfNeeded: random.next()))
      case 3:
        let double = Double(bitPattern: random.next())
        return double.isFinite ? .double(double) : .double(-0.0)
      case 4:
        return .string(
          String(
            String.UnicodeScalarView(
              (0..<5).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0..<0x500, using: &random)) })))
      case 5: return .array((0..<3).map { _ in value(depth + 1) })
      default:
        var object = JSONObject()
        for _ in 0..<3 { object[String(random.next() % 100)] = value(depth + 1) }
        return .object(object)
      }
    }
    for _ in 0..<200 {
      let json = value(0)
      #expect(try JSON(parsing: json.text.utf8) == json)
      #expect(try JSON(parsing: json.prettyText.utf8) == json)
    }
  }
}
