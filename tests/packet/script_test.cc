// Every `== name` of every scripts/*.pkt is a test.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "script.h"

namespace sluice::testbed {
namespace {

struct Named {
  std::string file;
  ScriptTest script;
};

std::vector<Named> all_scripts() {
  std::vector<Named> all;
  for (const auto& entry : std::filesystem::directory_iterator(SLUICE_SCRIPTS)) {
    if (entry.path().extension() != ".pkt") continue;
    for (ScriptTest& test : load_scripts(entry.path())) {
      all.push_back({entry.path().stem(), std::move(test)});
    }
  }
  std::sort(all.begin(), all.end(), [](const Named& a, const Named& b) {
    return std::pair(a.file, a.script.first_line) < std::pair(b.file, b.script.first_line);
  });
  return all;
}

class Packet : public testing::TestWithParam<Named> {};

TEST_P(Packet, Script) {
  const Named& named = GetParam();
  const std::string problem = run_script(named.script);
  EXPECT_TRUE(problem.empty()) << named.file << ".pkt, \"" << named.script.name << "\", "
                               << problem;
}

INSTANTIATE_TEST_SUITE_P(Scripts, Packet, testing::ValuesIn(all_scripts()),
                         [](const testing::TestParamInfo<Named>& test) {
                           std::string name = test.param.file + "_" + test.param.script.name;
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });

TEST(PacketScripts, AreThere) { EXPECT_GE(all_scripts().size(), 60U); }

}  // namespace
}  // namespace sluice::testbed
