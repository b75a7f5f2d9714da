#pragma once

/// The process's default backend as a retained Swift object, or null when no module that offers one is linked.
///
/// A weak symbol lets Runtime find the backend that the umbrella module chooses without importing it.
void *_Nullable kalsae_find_default_backend(void);
