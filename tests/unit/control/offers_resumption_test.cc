// Sessions taken up again: by ticket and by id, in every version, and what must not be.
#include <gtest/gtest.h>

#include "offers.h"

namespace sluice::control::testing {
namespace {

constexpr char kIntermediate[] = "intermediate-5.8";
constexpr char kOld[] = "old-5.8";

const Offer kResumption[] = {
    {kIntermediate, "rsa", "1.3", "TLS_AES_128_GCM_SHA256", "", "resume",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 - resumed"},
    {kIntermediate, "ecdsa", "1.3", "TLS_AES_256_GCM_SHA384", "", "resume",
     "1.3 TLS_AES_256_GCM_SHA384 X25519 - resumed"},
    {kIntermediate, "ecdsa", "1.3", "TLS_CHACHA20_POLY1305_SHA256", "P-521:P-256", "resume",
     "1.3 TLS_CHACHA20_POLY1305_SHA256 P-256 - retried resumed"},
    {kIntermediate, "rsa", "1.3", "TLS_CHACHA20_POLY1305_SHA256", "", "resume no-ticket",
     "1.3 TLS_CHACHA20_POLY1305_SHA256 X25519 - resumed"},
    {kIntermediate, "rsa", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", "", "resume",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 - - sentinel-1.2 resumed"},
    {kIntermediate, "rsa", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", "", "resume no-ticket",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 - - sentinel-1.2 resumed"},
    {kIntermediate, "rsa", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", "", "resume no-ems",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 - - sentinel-1.2 no-ems resumed"},
    {kIntermediate, "ecdsa", "1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", "", "resume",
     "1.2 ECDHE-ECDSA-CHACHA20-POLY1305 - - sentinel-1.2 resumed"},
    {kIntermediate, "rsa", "1.2", "DHE-RSA-AES256-GCM-SHA384", "", "resume",
     "1.2 DHE-RSA-AES256-GCM-SHA384 - - sentinel-1.2 resumed"},
    {kOld, "rsa", "1.2", "AES128-SHA256", "", "resume",
     "1.2 AES128-SHA256 - - sentinel-1.2 etm resumed"},
    {kOld, "rsa", "1.2", "AES128-SHA256", "", "resume no-etm no-ticket",
     "1.2 AES128-SHA256 - - sentinel-1.2 resumed"},
    {kOld, "rsa", "1.2", "AES256-GCM-SHA384", "", "resume",
     "1.2 AES256-GCM-SHA384 - - sentinel-1.2 resumed"},
    {kOld, "ecdsa", "1.2", "ECDHE-ECDSA-AES256-SHA384", "", "resume",
     "1.2 ECDHE-ECDSA-AES256-SHA384 - - sentinel-1.2 etm resumed"},
    {kOld, "rsa", "1.1", "ECDHE-RSA-AES256-SHA", "", "resume",
     "1.1 ECDHE-RSA-AES256-SHA - - sentinel-1.1 etm resumed"},
    {kOld, "rsa", "1.1", "AES256-SHA", "", "resume no-ticket no-etm",
     "1.1 AES256-SHA - - sentinel-1.1 resumed"},
    {kOld, "rsa", "1.0", "AES128-SHA", "", "resume", "1.0 AES128-SHA - - sentinel-1.1 etm resumed"},
    {kOld, "rsa", "1.0", "AES128-SHA", "", "resume no-ticket no-etm",
     "1.0 AES128-SHA - - sentinel-1.1 resumed"},
    {kOld, "ecdsa", "1.0", "ECDHE-ECDSA-AES128-SHA", "", "resume no-etm",
     "1.0 ECDHE-ECDSA-AES128-SHA - - sentinel-1.1 resumed"},
};
INSTANTIATE_TEST_SUITE_P(Resumption, Offers, ::testing::ValuesIn(kResumption));

}  // namespace
}  // namespace sluice::control::testing
