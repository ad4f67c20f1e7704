// The presets as data: Mozilla's server-side TLS guidelines, version 5.8. A later version becomes
// new presets beside these, so that an upgrade never changes what a server offers.
//
// Left out on purpose: `old` has no 3DES here and no DH parameters of 1,024 bits. What a server may
// sign with is not in the guidelines: `modern` and `intermediate` take the algorithms of RFC 8446
// 4.2.3, `old` adds SHA-1, without which every client is refused that sends no signature_algorithms
// (RFC 5246 7.4.1.4.1).
#include "control/handshake/policy.h"

namespace sluice::control::handshake {
namespace {

constexpr char kSuites13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

constexpr char kIntermediate12[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305:@SECLEVEL=2";

// TLS 1.0 and 1.1 sign with SHA-1 and MD5: OpenSSL has them at level 0 only.
constexpr char kOld12[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:"
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:"
    "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    "DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:"
    "@SECLEVEL=0";

constexpr char kGroups[] = "X25519:P-256:P-384";
constexpr char kDhGroups[] = "ffdhe2048:ffdhe3072";

constexpr char kSignatures[] =
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:"
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:"
    "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
    "rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512";
// OpenSSL 3.0 has ecdsa_sha1 without a name of its own.
constexpr char kSignaturesSha1[] = ":ECDSA+SHA1:rsa_pkcs1_sha1";

}  // namespace

std::span<const Preset> policy_presets() {
  static const std::string old_signatures = std::string(kSignatures) + kSignaturesSha1;
  static const Preset kPresets[] = {
      {"modern-5.8",
       {0x0304, 0x0304, "", kSuites13, kGroups, kDhGroups, kSignatures, Preference::Client}},
      {"intermediate-5.8",
       {0x0303, 0x0304, kIntermediate12, kSuites13, kGroups, kDhGroups, kSignatures,
        Preference::Client}},
      {"old-5.8",
       {0x0301, 0x0304, kOld12, kSuites13, kGroups, kDhGroups, old_signatures, Preference::Server}},
  };
  return kPresets;
}

const PolicySpec* find_preset(std::string_view name) {
  for (const Preset& preset : policy_presets()) {
    if (preset.name == name) return &preset.spec;
  }
  return nullptr;
}

}  // namespace sluice::control::handshake
