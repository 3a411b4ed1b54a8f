#include "base/test.h"

TEST_MAIN
