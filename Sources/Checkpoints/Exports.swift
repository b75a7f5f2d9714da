// Whoever reads checkpoints reads their configurations and handles their files' errors.
@_exported import KalsaeFormats
