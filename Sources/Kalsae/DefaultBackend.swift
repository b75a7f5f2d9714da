import KalsaeCPUBackend
import KalsaeRuntime

/// The backend of a process that imports Kalsae: all processors, unless a task chooses another.
@_cdecl("kalsae_default_backend")
public func makeDefaultBackend() -> UnsafeMutableRawPointer {
  Unmanaged.passRetained(DefaultBackendBox(BackendHandle(CPUBackend()))).toOpaque()
}
