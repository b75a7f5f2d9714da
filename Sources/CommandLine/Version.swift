import CBuildCommit
import KalsaeMeasurement

enum Version {
  static let number = "0.1.0"

  /// The commit this was built from.
  static var commit: String { String(cString: kalsae_build_commit()) }

  /// Semantic version, commit where the build knew it, and the version of oneDNN that is loaded.
  static var description: String {
    "kalsae \(number) (\(commit)), oneDNN \(MachineReport.oneDNNVersion)"
  }
}
