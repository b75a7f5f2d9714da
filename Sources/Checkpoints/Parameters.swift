import KalsaeFormats
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// Gives every parameter and state of a module its value from a checkpoint, strictly: each key of the module must be
/// in the file and each key of the file in the module, of the same shape. Floating-point values convert to the
/// parameter's type. A tied parameter may appear under any of its keys.
///
/// The values take effect at once. On an error, which reports all problems together, nothing changes.
@discardableResult
public func loadParameters(
  into contents: ModuleContents, from file: SafetensorsFile, keyMap: KeyMap = [:]
) throws(LoadError) -> LoadReport {
  let places =
    contents.parameters.map { Place(path: $0.path, aliases: $0.aliases, slot: $0.parameter.slot) }
    + contents.states.map { Place(path: $0.path, aliases: $0.aliases, slot: $0.state.slot) }
  return try load(places, from: file, keyMap)
}

/// Gives every slot its value from a checkpoint as `loadParameters` does: an optimizer's or an average's state.
@discardableResult
public func loadSlots(
  _ slots: [(path: String, slot: Slot)], from file: SafetensorsFile, keyMap: KeyMap = [:]
) throws(LoadError) -> LoadReport {
  try load(slots.map { Place(path: $0.path, aliases: [], slot: $0.slot) }, from: file, keyMap)
}

/// Writes the parameters and states of a module to a safetensors file, atomically; a tied one once, under its first
/// key. `format: pt` is what Python's transformers and diffusers ask of a file with PyTorch's layouts.
public func saveParameters(
  of contents: ModuleContents, to path: String, metadata: [String: String] = ["format": "pt"]
) throws(SafetensorsError) {
  let parameters = contents.parameters.map { (path: $0.path, slot: $0.parameter.slot) }
  let states = contents.states.map { (path: $0.path, slot: $0.state.slot) }
  try saveSlots(parameters + states, to: path, metadata: metadata)
}

/// Writes the values of slots to a safetensors file, atomically. Pending values are committed first.
public func saveSlots(
  _ slots: [(path: String, slot: Slot)], to path: String, metadata: [String: String] = [:]
) throws(SafetensorsError) {
  let pending = slots.map(\.slot).filter { $0.pending != nil }
  if !pending.isEmpty { evaluate([], slots: pending) }
  var writer = SafetensorsWriter(metadata: metadata)
  for (path, slot) in slots {
    let buffer = slot.buffer!
    writer.add(path, slot.spec.dtype.safetensors, slot.spec.shape.dimensions) { write in
      try withExtendedLifetime(buffer) {
        try write(UnsafeRawBufferPointer(start: buffer.pointer, count: slot.spec.byteCount))
      }
    }
  }
  try writer.writeOwn(to: path)
}

/// Where a value goes.
private struct Place {
  let path: String
  let aliases: [String]
  let slot: Slot
}

private func load(_ places: [Place], from file: SafetensorsFile, _ keyMap: KeyMap) throws(LoadError)
  -> LoadReport
{
  var report = LoadReport()
  /// Keys of the file by key of the module.
  var keys: [String: [String]] = [:]
  for key in file.names {
    if let path = keyMap(key) { keys[path, default: []].append(key) } else { report.ignored.append(key) }
  }
  var found: [(slot: Slot, key: String)] = []
  for place in places {
    let candidates = ([place.path] + place.aliases).flatMap { keys.removeValue(forKey: $0) ?? [] }
    guard let key = candidates.first else {
      report.missing.append(place.path)
      continue
    }
    let tensor = file[key]!, shape = Shape(tensor.shape), spec = place.slot.spec
    if candidates.dropFirst().contains(where: { !haveSameValue(file, key, $0) }) {
      report.conflicts.append(.init(path: place.path, keys: candidates))
    } else if shape != spec.shape {
      report.misshapen.append(.init(path: place.path, expected: spec.shape, found: shape))
    } else if !tensor.dtype.converts(to: spec.dtype) {
      report.mistyped.append(.init(path: place.path, expected: spec.dtype, found: tensor.dtype))
    } else {
      report.loaded.append(place.path)
      found.append((place.slot, key))
    }
  }
  report.unexpected = keys.values.flatMap { $0 }.sorted(by: JSON.ascending)
  guard report.isComplete else { throw LoadError(path: file.path, report: report) }
  for (slot, key) in found { fill(slot, from: file, key) }
  return report
}

private func haveSameValue(_ file: SafetensorsFile, _ a: String, _ b: String) -> Bool {
  guard let x = file[a], let y = file[b], x.dtype == y.dtype, x.shape == y.shape,
    let first = try? file.bytes(of: a), let second = try? file.bytes(of: b)
  else { return false }
  return first.withUnsafeBytes { first in second.withUnsafeBytes { first.elementsEqual($0) } }
}

/// Copies, since a slot's memory changes in place and the file's pages must not. Committing without a plan lets the
/// first values of a model, which would only be replaced, remain undrawn.
private func fill(_ slot: Slot, from file: SafetensorsFile, _ key: String) {
  let spec = slot.spec
  let buffer = Buffer(byteCount: spec.byteCount)
  guard let bytes = try? file.bytes(of: key) else {
    fatalError("safetensors: '\(key)' has vanished")
  }
  bytes.withUnsafeBytes {
    copyElements($0, file[key]!.dtype, to: buffer, spec.dtype, count: spec.shape.count)
  }
  let value = Tensor(buffer, spec)
  slot.value = value
  slot.commit(buffer, pending: value)
}
