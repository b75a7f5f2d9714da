import Foundation
import Synchronization
import KalsaeTensors

/// An image file that is left out, and why.
public struct SkippedImage: Sendable, Equatable {
  public let path: String
  public let reason: String
}

/// The PNG and JPEG files of a folder and its sub-folders, any size, as square pictures of one size.
///
/// Files are taken in the byte order of their paths; names that begin with a dot are ignored. Each picture is
/// scaled to cover size x size and cropped at the centre; alpha is composited over white. When every picture
/// lies in a sub-folder, the first folder of its path is its class.
///
/// Opening looks at the beginning and the end of every file, and leaves out those that are no complete
/// picture. Decoding waits until a picture is first read; the result is kept in memory until `cacheLimit`
/// bytes are full. Should a picture prove damaged only then, the next one in order takes its place, with its
/// label, so the count and the order of a run never change. Every file left out is reported once.
public final class ImageFolder: ImageDataset {
  public let name: String
  public let channels: Int
  public let size: Int
  public let classNames: [String]?
  /// Memory for decoded pictures, in bytes.
  public let cacheLimit: Int

  private let folder: String
  private let paths: [String]
  private let labels: [Int]?
  private let onSkip: (@Sendable (SkippedImage) -> Void)?
  private let state: Mutex<State>

  private struct State {
    /// Decoded pictures.
    var cache: [[UInt8]?]
    var cachedBytes = 0
    /// Pictures found damaged after opening.
    var damaged: Set<Int> = []
    var skipped: [SkippedImage]
  }

  public var count: Int { paths.count }

  /// The files left out so far, in the order in which they were found.
  public var skipped: [SkippedImage] { state.withLock { $0.skipped } }

  /// Opens `folder`.
  /// - Parameters:
  ///   - size: width and height of the pictures delivered.
  ///   - channels: 1 or 3; nil: 1 if all pictures are grey, else 3.
  ///   - onSkip: called for every file left out, from whatever thread finds it.
  /// - Throws: when the folder is missing, holds no image file, or none that can be decoded.
  public init(
    _ folder: String, size: Int = 64, channels: Int? = nil, cacheLimit: Int = 512 << 20,
    onSkip: (@Sendable (SkippedImage) -> Void)? = nil
  ) throws(DataError) {
    require(size > 0, "ImageFolder: size \(size) is not positive")
    require(channels == nil || channels == 1 || channels == 3, "ImageFolder: \(channels!) channels")
    let folder = FileIO.fullPath(folder)
    guard FileIO.isFolder(folder) else {
      throw FileIO.isFile(folder)
        ? .malformed(path: folder, reason: "it is a file; give a folder of PNG or JPEG files")
        : .missing(path: folder, remedy: "give a folder of PNG or JPEG files")
    }
    let found = try Self.imagePaths(in: folder)
    guard !found.isEmpty else {
      throw .malformed(
        path: folder, reason: "no PNG or JPEG file in it or its sub-folders; put some there")
    }

    var (paths, skipped, allGrey): ([String], [SkippedImage], Bool) = ([], [], true)
    for path in found {
      do throws(DataError) {
        let header = try ImageCodec.probe(folder + "/" + path)
        allGrey = allGrey && header.channels <= 2
        paths.append(path)
      } catch {
        skipped.append(SkippedImage(path: folder + "/" + path, reason: error.description))
        onSkip?(skipped.last!)
      }
    }
    guard !paths.isEmpty else {
      throw .allImagesFailed(path: folder, count: found.count, first: skipped[0].reason)
    }

    let classes = paths.map { path in path.firstIndex(of: "/").map { String(path[..<$0]) } }
    if classes.contains(nil) {
      (classNames, labels) = (nil, nil)
    } else {
      let names = Set(classes.compactMap { $0 }).sorted(by: FileIO.utf8Order)
      let numbers = Dictionary(uniqueKeysWithValues: zip(names, 0...))
      (classNames, labels) = (names, classes.map { numbers[$0!]! })
    }
    self.name = (folder as NSString).lastPathComponent
    self.channels = channels ?? (allGrey ? 1 : 3)
    self.size = size
    self.cacheLimit = cacheLimit
    self.folder = folder
    self.paths = paths
    self.onSkip = onSkip
    state = Mutex(State(cache: Array(repeating: nil, count: paths.count), skipped: skipped))
  }

  /// Paths below `root` with an image's extension; links are followed, each folder entered once.
  private static func imagePaths(in root: String) throws(DataError) -> [String] {
    var (found, visited): ([String], Set<String>) = ([], [])
    func walk(_ prefix: String) throws(DataError) {
      let folder = root + "/" + prefix
      guard visited.insert(URL(fileURLWithPath: folder).resolvingSymlinksInPath().path).inserted else {
        return
      }
      for name in try FileIO.names(in: folder) where !name.hasPrefix(".") {
        if ["png", "jpg", "jpeg"].contains((name as NSString).pathExtension.lowercased()) {
          found.append(prefix + name)
        } else if FileIO.isFolder(folder + name) {
          try walk(prefix + name + "/")
        }
      }
    }
    try walk("")
    return found.sorted(by: FileIO.utf8Order)
  }

  public func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError) {
    checkRead(index, pixels)
    var firstReason = ""
    for i in (index..<index + count).lazy.map({ $0 % self.count }) {
      let (cached, isDamaged) = state.withLock { ($0.cache[i], $0.damaged.contains(i)) }
      if let cached {
        _ = pixels.update(fromContentsOf: cached)
        return
      }
      if isDamaged { continue }
      do throws(DataError) {
        let decoded = try Image(contentsOf: folder + "/" + paths[i], minimumSide: size)
        let picture = decoded.flattened(toChannels: channels).resizedToCover(size).pixels
        store(picture, i)
        _ = pixels.update(fromContentsOf: picture)
        return
      } catch {
        // Only what is wrong with the picture itself is passed over; a disk error or a deleted file is not.
        guard case .malformed(let path, let reason) = error else { throw error }
        if firstReason.isEmpty { firstReason = error.description }
        leaveOut(i, SkippedImage(path: path, reason: reason))
      }
    }
    throw .allImagesFailed(path: folder, count: count, first: firstReason)
  }

  private func store(_ picture: [UInt8], _ index: Int) {
    state.withLock {
      guard $0.cache[index] == nil, $0.cachedBytes + picture.count <= cacheLimit else { return }
      $0.cache[index] = picture
      $0.cachedBytes += picture.count
    }
  }

  private func leaveOut(_ index: Int, _ image: SkippedImage) {
    let isNew = state.withLock {
      guard $0.damaged.insert(index).inserted else { return false }
      $0.skipped.append(image)
      return true
    }
    if isNew { onSkip?(image) }
  }

  /// The class of picture `index`, or of the picture that reading showed must take its place.
  public func label(_ index: Int) -> Int? {
    guard let labels else { return nil }
    let damaged = state.withLock { $0.damaged }
    return (index..<index + count).lazy.map { $0 % self.count }.first { !damaged.contains($0) }.map {
      labels[$0]
    }
  }
}
