// What test programs include most, compiled once for all of them (tests/meson.build). Without
// "#pragma once", which a header that is compiled alone must not have.
#include <gtest/gtest.h>
