/// NumPy's `.npz`: a zip archive with one `.npy` file per array, as `numpy.savez` and `numpy.load` use it.
public enum NPZ {
  /// Writes `arrays` in order; `path` appears complete or not at all.
  /// - Parameter compressed: deflate, as `numpy.savez_compressed`; otherwise stored.
  public static func write(
    _ arrays: KeyValuePairs<String, NPYArray>, to path: String, compressed: Bool = false
  ) throws(DataError) {
    try write(arrays, to: path, compressed: compressed, zip64Threshold: 0xFFFF_FFFF)
  }

  package static func write(
    _ arrays: KeyValuePairs<String, NPYArray>, to path: String, compressed: Bool, zip64Threshold: UInt64
  ) throws(DataError) {
    try AtomicOutput.write(to: path) { (file) throws(DataError) in
      var zip = ZipWriter(zip64Threshold: zip64Threshold)
      for (name, array) in arrays {
        let header = NPYFormat.header(array)
        let name = name + ".npy"
        switch array.elements {
        case .uint8(let values): try zip.append(name, header, values, compressed, to: file)
        case .float32(let values): try zip.append(name, header, values, compressed, to: file)
        case .int64(let values): try zip.append(name, header, values, compressed, to: file)
        }
      }
      try zip.finish(to: file)
    }
  }

  /// Writes one array under the name that `numpy.savez` gives an unnamed one, `arr_0`.
  public static func write(
    _ array: NPYArray, to path: String, compressed: Bool = false
  ) throws(DataError) {
    try write(["arr_0": array], to: path, compressed: compressed)
  }

  /// Reads all arrays, by name.
  public static func read(_ path: String) throws(DataError) -> [String: NPYArray] {
    let zip = try ZipReader(path)
    var arrays: [String: NPYArray] = [:]
    for entry in zip.entries {
      let name = entry.name.hasSuffix(".npy") ? String(entry.name.dropLast(4)) : entry.name
      let bytes = try zip.read(entry)
      do throws(CodecError) {
        arrays[name] = try NPYFormat.decode(bytes)
      } catch {
        throw .malformed(path: zip.path, reason: "\(entry.name): \(error.reason)")
      }
    }
    return arrays
  }
}
