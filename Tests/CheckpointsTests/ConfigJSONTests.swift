import Foundation
import KalsaeCheckpoints
import Testing

@Suite struct ConfigJSONTests {
  enum Prediction: String, CaseIterable, ConfigValue { case epsilon, sample, v = "v_prediction" }

  private func config(_ text: String) throws -> ConfigJSON {
    try ConfigJSON(JSON(parsing: text.utf8), file: "unet/config.json")
  }

  @Test func readsOneLinePerField() throws {
    let c = try config(
      #"{"size":64,"rate":1e-4,"theta":10000,"flip":true,"name":"x","channels":[1,2],"kind":"v_prediction","none":null}"#
    )
    let size: Int = try c("size")
    let rate: Double = try c("rate"), theta: Double = try c("theta")
    let flip: Bool = try c("flip")
    let name: String = try c("name")
    let channels: [Int] = try c("channels")
    let kind: Prediction = try c("kind")
    #expect(
      size == 64 && rate == 1e-4 && theta == 10_000 && flip && name == "x" && channels == [1, 2] && kind == .v
    )
    #expect(try c("absent", or: 3) == 3)
    #expect(try c("none", or: 3) == 3)
    #expect(try c("none", as: Int?.self) == nil)
    #expect(try c("absent", as: Int?.self) == nil)
    #expect(try c("size", as: Int?.self) == 64)
    // A null that the field allows is a value, not an absence.
    #expect(try c("none", or: Int?.some(5)) == nil)
    #expect(try c("absent", or: Int?.some(5)) == 5)
    try c.finish()
  }

  @Test func errorsNameFileKeyExpectedAndFound() throws {
    let c = try config(
      #"{"size":"x","rate":true,"channels":[1,"2"],"kind":"eps","flip":1,"whole":5.0,"big":9007199254740993,"none":null}"#
    )
    func message(_ read: () throws -> Void) -> String {
      do { try read() } catch { return "\(error)" }
      return "nothing was thrown"
    }
    #expect(
      message { let _: Int = try c("size") }
        == #"unet/config.json: 'size' should be an integer, found the string "x""#)
    #expect(message { _ = try c("size", or: 3) }.contains("should be an integer"))
    #expect(
      message { let _: Int = try c("absent") }
        == "unet/config.json: 'absent' should be an integer, found nothing")
    #expect(
      message { let _: Int = try c("none") } == "unet/config.json: 'none' should be an integer, found null")
    #expect(message { let _: Double = try c("rate") }.hasSuffix("'rate' should be a number, found true"))
    #expect(
      message { let _: [Int] = try c("channels") }
        .hasSuffix(#"'channels' should be a list, each item an integer, found the list [1,"2"]"#))
    #expect(
      message { let _: Prediction = try c("kind") }
        .hasSuffix(#"'kind' should be one of "epsilon", "sample", "v_prediction", found the string "eps""#))
    #expect(
      message { let _: Bool = try c("flip") }.hasSuffix("'flip' should be true or false, found the number 1"))
    #expect(
      message { let _: Int = try c("whole") }.hasSuffix("'whole' should be an integer, found the number 5.0"))
    #expect(message { let _: Double = try c("big") }.contains("9007199254740993"))
    #expect("\(c.invalid("size", "must be positive"))" == "unet/config.json: 'size' must be positive")
  }

  @Test func unknownKeysAreReportedTogether() throws {
    let c = try config(#"{"_class_name":"UNet2DModel","sample_siez":32,"in_channels":3,"zebra":1}"#)
    let _: Int = try c("in_channels")
    let _: Int = try c("sample_size", or: 64)
    let error = #expect(throws: ConfigError.self) { try c.finish(ignoring: ["_class_name"]) }
    #expect(
      error?.description
        == "unet/config.json: unknown keys 'sample_siez' (did you mean 'sample_size'?), 'zebra'")
  }

  @Test func nestedObjectsHaveFullNames() throws {
    let c = try config(#"{"model":{"sise":1,"width":"a"},"bad":[]}"#)
    let model = try #require(try c.nested("model"))
    #expect(try c.nested("absent") == nil)
    var error = #expect(throws: ConfigError.self) { let _: Int = try model("width") }
    #expect(
      error?.description == #"unet/config.json: 'model.width' should be an integer, found the string "a""#)
    _ = try model("size", or: 1)
    error = #expect(throws: ConfigError.self) { try model.finish() }
    #expect(error?.description == "unet/config.json: unknown key 'model.sise' (did you mean 'model.size'?)")
    error = #expect(throws: ConfigError.self) { try c.nested("bad") }
    #expect(error?.description == "unet/config.json: 'bad' should be an object, found the list []")
  }

  @Test func filesThatCannotBeReadAreReported() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("{\"a\": }".utf8, "config.json")
    var error = #expect(throws: ConfigError.self) { try ConfigJSON(path: path) }
    #expect(error?.description == "\(path): not valid JSON: line 1, column 7: expected a value, found '}'")
    error = #expect(throws: ConfigError.self) { try ConfigJSON(path: folder("absent.json")) }
    #expect(error?.description.contains("check the path") == true)
    error = #expect(throws: ConfigError.self) { try ConfigJSON(path: folder.write("[]".utf8, "list.json")) }
    #expect(error?.description.hasSuffix("list.json: should be an object, found the list []") == true)
  }
}
