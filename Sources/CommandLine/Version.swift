import KalsaeMeasurement

enum Version {
  static let number = "0.1.0"

  /// Semantic version, commit where the build knew it, and the version of oneDNN that is loaded.
  static var description: String {
    "kalsae \(number) (\(buildCommit)), oneDNN \(MachineReport.oneDNNVersion)"
  }
}
