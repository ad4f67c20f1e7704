// Carries the precompiled header next to it; holds nothing.
#include "gtest_once.h"
