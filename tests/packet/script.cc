// Files of scripts, and how one is run: line by line, by a Runner.
#include "script.h"

#include <exception>
#include <fstream>

#include "runner.h"

namespace sluice::testbed {

std::vector<ScriptTest> load_scripts(const std::string& file) {
  std::vector<ScriptTest> tests;
  std::ifstream stream(file);
  int line_number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++line_number;
    line.resize(std::min(line.find('#'), line.size()));
    const size_t first = line.find_first_not_of(" \t");
    line = first == std::string::npos ? "" : line.substr(first);
    if (line.rfind("== ", 0) == 0) {
      tests.push_back({line.substr(3), line_number, {}});
    } else if (!tests.empty()) {
      tests.back().lines.push_back(line);
    }
  }
  return tests;
}

std::string run_script(const ScriptTest& test) {
  Runner runner;
  int line_number = test.first_line;
  try {
    for (const std::string& line : test.lines) {
      ++line_number;
      if (!line.empty()) runner.run_line(line);
    }
    runner.finish();
  } catch (const std::exception& error) {
    return "line " + std::to_string(line_number) + ": " + error.what();
  }
  return "";
}

}  // namespace sluice::testbed
