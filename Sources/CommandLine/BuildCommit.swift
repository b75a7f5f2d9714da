/// The commit this was built from; `make build` fills it in, a plain `swift build` does not know it.
let buildCommit = "development"
