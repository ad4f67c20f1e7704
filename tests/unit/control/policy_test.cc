// Policies: what is left of what is written, and why the rest is not.
#include "control/handshake/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/handshake/policy_context.h"

namespace sluice::control::testing {
namespace {

using handshake::find_preset;
using handshake::Policy;
using handshake::PolicySpec;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Policies : public ::testing::Test {
 protected:
  Policies() {
    handshake::initialise_openssl();
    spec_ = *find_preset("intermediate-5.8");
  }
  Policy resolve() {
    auto policy = handshake::resolve_policy("t", spec_);
    EXPECT_TRUE(policy.has_value()) << policy.error().message;
    return policy ? *policy : Policy{};
  }
  static std::vector<std::string> names(const std::vector<const crypto::Suite*>& suites) {
    std::vector<std::string> out;
    for (const crypto::Suite* suite : suites) out.emplace_back(suite->openssl_name);
    return out;
  }
  PolicySpec spec_;
};

TEST_F(Policies, PresetsAreMozillas) {
  struct Row {
    const char* name;
    uint16_t minimum;
    int level;
    handshake::Preference preference;
  };
  constexpr Row kRows[] = {
      {"modern-5.8", 0x0304, 2, handshake::Preference::Client},
      {"intermediate-5.8", 0x0303, 2, handshake::Preference::Client},
      {"old-5.8", 0x0301, 0, handshake::Preference::Server},
  };
  for (const Row& row : kRows) {
    spec_ = *find_preset(row.name);
    const Policy policy = resolve();
    EXPECT_EQ(policy.minimum_version, row.minimum) << row.name;
    EXPECT_EQ(policy.maximum_version, 0x0304) << row.name;
    EXPECT_EQ(policy.security_level, row.level) << row.name;
    EXPECT_EQ(policy.preference, row.preference) << row.name;
    EXPECT_THAT(policy.groups, ElementsAre("X25519", "P-256", "P-384")) << row.name;
    EXPECT_THAT(policy.warnings, ElementsAre()) << row.name;
    EXPECT_EQ(handshake::join_names(names(policy.suites13)), spec_.ciphersuites) << row.name;
    std::vector<std::string> written = handshake::split_names(spec_.ciphers);
    if (!written.empty()) written.pop_back();  // @SECLEVEL
    EXPECT_EQ(names(policy.suites12), written) << row.name;
  }
}

// A whole string of OpenSSL's, for a test bed: all that may be served stays, in OpenSSL's order.
TEST_F(Policies, AllAtLevelZero) {
  spec_ = *find_preset("old-5.8");
  spec_.ciphers = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
  const Policy policy = resolve();
  EXPECT_EQ(policy.security_level, 0);
  EXPECT_EQ(policy.minimum_version, 0x0301);
  size_t before_13 = 0;
  for (const crypto::Suite& suite : crypto::all_suites()) {
    if (suite.iana_name == suite.openssl_name) continue;
    ++before_13;
    EXPECT_THAT(names(policy.suites12), Contains(std::string(suite.openssl_name)));
  }
  EXPECT_EQ(policy.suites12.size(), before_13);
  struct Row {
    const char* suite;
    const char* why;
  };
  constexpr Row kRows[] = {
      {"NULL-SHA256", "does not encrypt"},
      {"ECDHE-RSA-NULL-SHA", "does not encrypt"},
      {"ADH-AES256-GCM-SHA384", "does not authenticate"},
      {"AECDH-AES128-SHA", "does not authenticate"},
      {"PSK-AES128-GCM-SHA256", "RSA or ECDSA"},
      {"RSA-PSK-AES128-GCM-SHA256", "ECDHE, DHE or RSA"},
      {"SRP-RSA-AES-128-CBC-SHA", "ECDHE, DHE or RSA"},
      {"DHE-DSS-AES128-GCM-SHA256", "RSA or ECDSA"},
      {"ECDHE-RSA-CAMELLIA128-SHA256", "do not speak"},
      {"ECDHE-ECDSA-AES128-CCM8", "do not speak"},
      {"ECDHE-ARIA128-GCM-SHA256", "do not speak"},
  };
  for (const Row& row : kRows) {
    EXPECT_THAT(policy.warnings,
                Contains(HasSubstr(std::string("policy t: ") + row.suite + " is left out: ")))
        << row.suite;
    for (const std::string& warning : policy.warnings) {
      if (warning.find(std::string(" ") + row.suite + " ") == std::string::npos) continue;
      EXPECT_THAT(warning, HasSubstr(row.why));
    }
  }
}

TEST_F(Policies, WordsThatOpenSslDoesNotKnow) {
  spec_.ciphers = "ECDHE+AESGCM:DES-CBC3-SHA:RC4:!3DES:-NOTHING";
  EXPECT_THAT(resolve().warnings,
              ElementsAre(HasSubstr("DES-CBC3-SHA is left out: this OpenSSL has no such suite"),
                          HasSubstr("RC4 is left out: this OpenSSL has no such suite")));
}

TEST_F(Policies, SuitesOfTls13) {
  spec_.ciphersuites = "TLS_AES_256_GCM_SHA384:TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256";
  const Policy policy = resolve();
  EXPECT_THAT(names(policy.suites13),
              ElementsAre("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"));
  EXPECT_THAT(policy.warnings, ElementsAre(HasSubstr("TLS_AES_128_CCM_SHA256 is left out")));
}

TEST_F(Policies, VersionsWithoutASuiteGo) {
  struct Row {
    uint16_t minimum, maximum;
    const char* ciphers;
    const char* ciphersuites;
    uint16_t expected_minimum, expected_maximum;
    const char* warning;
  };
  constexpr Row kRows[] = {
      {0x0301, 0x0304, "AESGCM:@SECLEVEL=0", "TLS_AES_128_GCM_SHA256", 0x0303, 0x0304,
       "TLS 1.1 is left out: no suite"},
      {0x0301, 0x0304, "AESGCM:AES:@SECLEVEL=1", "TLS_AES_128_GCM_SHA256", 0x0303, 0x0304,
       "TLS 1.0 is left out: OpenSSL has it at @SECLEVEL=0"},
      {0x0303, 0x0304, "AESGCM", "TLS_AES_128_CCM_SHA256", 0x0303, 0x0303,
       "TLS 1.3 is left out: no suite"},
      {0x0303, 0x0304, "PSK", "TLS_AES_128_GCM_SHA256", 0x0304, 0x0304,
       "TLS 1.2 is left out: no suite"},
  };
  for (const Row& row : kRows) {
    spec_.minimum_version = row.minimum;
    spec_.maximum_version = row.maximum;
    spec_.ciphers = row.ciphers;
    spec_.ciphersuites = row.ciphersuites;
    const Policy policy = resolve();
    EXPECT_EQ(policy.minimum_version, row.expected_minimum) << row.warning;
    EXPECT_EQ(policy.maximum_version, row.expected_maximum) << row.warning;
    EXPECT_THAT(policy.warnings, Contains(HasSubstr(row.warning)));
  }
}

TEST_F(Policies, SecurityLevelRulesOutWhatIsWeak) {
  spec_.ciphers = "ECDHE+AESGCM:DHE+AESGCM:kRSA+AESGCM:@SECLEVEL=4";
  spec_.groups = "X25519:P-384:P-521";
  const Policy policy = resolve();
  EXPECT_THAT(policy.groups, ElementsAre("P-384", "P-521"));
  EXPECT_THAT(policy.dh_groups, ElementsAre());
  EXPECT_THAT(names(policy.suites12),
              ElementsAre("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"));
  EXPECT_THAT(policy.warnings, Contains(HasSubstr("AES128-GCM-SHA256 is left out")));
}

TEST_F(Policies, LargePrimesAreTakenOnRequestAndWarnedAbout) {
  spec_.dh_groups = "ffdhe8192:ffdhe2048";
  const Policy policy = resolve();
  EXPECT_THAT(policy.dh_groups, ElementsAre("ffdhe8192", "ffdhe2048"));
  EXPECT_THAT(policy.warnings, ElementsAre(HasSubstr("ffdhe8192 lets one ClientHello cost")));
  for (const handshake::Preset& preset : handshake::policy_presets()) {
    const std::string groups = preset.spec.groups + ":" + preset.spec.dh_groups;
    for (const char* large : {"ffdhe4096", "ffdhe6144", "ffdhe8192"}) {
      EXPECT_THAT(groups, Not(HasSubstr(large))) << preset.name;
    }
  }
}

TEST_F(Policies, WhatACertificateNeeds) {
  const Policy intermediate = resolve();
  EXPECT_TRUE(handshake::can_authenticate(intermediate, true));
  EXPECT_TRUE(handshake::can_authenticate(intermediate, false));
  spec_.signature_algorithms = "ECDSA+SHA256:rsa_pss_rsae_sha256";
  spec_.maximum_version = 0x0303;
  spec_.ciphers = "ECDHE+aECDSA+AESGCM";
  EXPECT_TRUE(handshake::can_authenticate(resolve(), true));
  EXPECT_FALSE(handshake::can_authenticate(resolve(), false));
  EXPECT_EQ(handshake::needed_strength_bits(intermediate), 112);
}

TEST_F(Policies, EveryPresetMakesAContext) {
  for (const handshake::Preset& preset : handshake::policy_presets()) {
    spec_ = preset.spec;
    const auto context = handshake::PolicyContext::create(nullptr, resolve());
    EXPECT_TRUE(context.has_value()) << context.error();
  }
}

}  // namespace
}  // namespace sluice::control::testing
