#pragma once

/// The short name of the commit this was built from, with "+" when files had changed; "unknown" outside git.
const char *_Nonnull kalsae_build_commit(void);
