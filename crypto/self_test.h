// Known answers of everything that this folder asks of ipsec-mb. Used by Provider::create alone.
#pragma once

#include "crypto/provider.h"

namespace sluice::crypto {

[[nodiscard]] bool self_test(const Provider& provider);

}  // namespace sluice::crypto
