#include "cbuildcommit.h"

// The manifest defines KALSAE_COMMIT as bare text, because quotes do not survive every build system.
#define QUOTED(text) #text
#define EXPANDED(text) QUOTED(text)

const char *kalsae_build_commit(void) {
#ifdef KALSAE_COMMIT
  return EXPANDED(KALSAE_COMMIT);
#else
  return "unknown";
#endif
}
