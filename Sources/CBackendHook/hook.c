#include "cbackendhook.h"

__attribute__((weak)) void *kalsae_default_backend(void);

void *kalsae_find_default_backend(void) { return kalsae_default_backend ? kalsae_default_backend() : 0; }
