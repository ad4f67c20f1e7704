// The strict reader by itself: every kind of value, handles to absent tables, two readers of one
// document, and help with misspelt words.
#include "abi/config/strict_table.h"

#include <gtest/gtest.h>

namespace sluice::abi::config {
namespace {

enum class Version : uint8_t { Tls12, Tls13 };
constexpr Choice<Version> kVersions[] = {{"1.2", Version::Tls12}, {"1.3", Version::Tls13}};

Document parse(std::string_view text) {
  auto document = Document::parse(text, "/etc/t.toml");
  EXPECT_TRUE(document) << document.error().to_string();
  return std::move(*document);
}

std::string verdict(const Document& document) {
  const auto result = document.check();
  return result ? "" : result.error().to_string();
}

TEST(StrictTable, ReadsEveryKindOfValue) {
  const Document document = parse(
      "name = \"n\"\nnumber = 7\nflag = true\nversion = \"1.3\"\nstrings = [\"a\", \"b\"]\n"
      "integers = [1, 2]\ninline = { x = 1 }\nlist = [{ y = 1 }, { y = 2 }]\n[sub]\nz = 3\n");
  const Table root = document.root();
  EXPECT_EQ(root.required_string("name"), "n");
  EXPECT_EQ(root.required_integer("number", 0, 9), 7);
  EXPECT_TRUE(root.required_boolean("flag"));
  EXPECT_EQ(root.required_enum("version", kVersions), Version::Tls13);
  EXPECT_EQ(root.required_strings("strings", 2), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(root.required_integers("integers", 0, 2, 2), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(root.required_table("inline").required_integer("x", 0, 9), 1);
  const auto list = root.required_tables("list", 2);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[1].required_integer("y", 0, 9) + list[0].required_integer("y", 0, 9), 3);
  EXPECT_EQ(root.optional_table("sub").required_integer("z", 0, 9), 3);
  EXPECT_EQ(verdict(document), "");
}

TEST(StrictTable, AbsentValuesTakeTheirDefaults) {
  const Document document = parse("");
  const Table root = document.root();
  EXPECT_EQ(root.optional_string("a", "x"), "x");
  EXPECT_EQ(root.optional_integer("b", 5, 0, 9), 5);
  EXPECT_TRUE(root.optional_boolean("c", true));
  EXPECT_EQ(root.optional_enum("d", kVersions, Version::Tls13), Version::Tls13);
  EXPECT_TRUE(root.optional_strings("e", 2).empty());
  EXPECT_TRUE(root.optional_integers("f", 0, 9, 2).empty());
  EXPECT_TRUE(root.optional_tables("g", 2).empty());
  const Table absent = root.optional_table("h");
  EXPECT_FALSE(absent.exists());
  EXPECT_FALSE(absent.has("x"));
  EXPECT_TRUE(absent.keys().empty());
  EXPECT_EQ(absent.required_string("x"), "");
  EXPECT_EQ(absent.required_integer("x", 3, 9), 3);
  EXPECT_FALSE(absent.required_boolean("x"));
  EXPECT_EQ(absent.required_enum("x", kVersions), Version::Tls12);
  EXPECT_TRUE(absent.required_strings("x", 2).empty());
  EXPECT_TRUE(absent.required_tables("x", 2).empty());
  EXPECT_FALSE(absent.required_table("x").exists());
  absent.ignore({"x"});
  absent.fail("x", "said by nobody");
  absent.fail("said by nobody");
  EXPECT_EQ(verdict(document), "");
}

TEST(StrictTable, RequiredValuesAreMissed) {
  struct Row {
    const char* name;
    void (*read)(const Table&);
  };
  const Row rows[] = {
      {"string", [](const Table& t) { t.required_string("k"); }},
      {"integer", [](const Table& t) { t.required_integer("k", 0, 1); }},
      {"boolean", [](const Table& t) { t.required_boolean("k"); }},
      {"enum", [](const Table& t) { t.required_enum("k", kVersions); }},
      {"strings", [](const Table& t) { t.required_strings("k", 1); }},
      {"integers", [](const Table& t) { t.required_integers("k", 0, 1, 1); }},
      {"table", [](const Table& t) { t.required_table("k"); }},
      {"tables", [](const Table& t) { t.required_tables("k", 1); }},
  };
  for (const Row& row : rows) {
    const Document document = parse("\n[t]\n");
    row.read(document.root().required_table("t"));
    EXPECT_FALSE(document.failed());
    EXPECT_EQ(verdict(document), "/etc/t.toml:2:1: 'k' is missing in [t]; add it") << row.name;
  }
}

TEST(StrictTable, WrongTypesAreRefusedByEveryReader) {
  struct Row {
    void (*read)(const Table&);
    const char* expected;
  };
  const Row rows[] = {
      {[](const Table& t) { t.required_string("k"); }, "a string in quotes"},
      {[](const Table& t) { t.optional_string("k", ""); }, "a string in quotes"},
      {[](const Table& t) { t.required_integer("k", 0, 1); }, "an integer from 0 to 1"},
      {[](const Table& t) { t.optional_boolean("k", true); }, "true or false"},
      {[](const Table& t) { t.required_enum("k", kVersions); }, "one of: 1.2, 1.3"},
      {[](const Table& t) { t.required_strings("k", 1); }, "[\"...\"]"},
      {[](const Table& t) { t.optional_integers("k", 0, 1, 1); },
       "an array of integers, as in [0]"},
      {[](const Table& t) { t.optional_table("k"); }, "it as a table, [k]"},
      {[](const Table& t) { t.optional_tables("k", 1); }, "it as [[k]]"},
  };
  for (const Row& row : rows) {
    const Document document = parse("k = 1.5\n");
    row.read(document.root());
    EXPECT_TRUE(document.failed());
    EXPECT_EQ(verdict(document), std::string("/etc/t.toml:1:5: 'k' is a floating-point number; "
                                             "write ") +
                                     row.expected);
  }
}

TEST(StrictTable, ElementsHaveTheirOwnPositions) {
  const Document document = parse("t = [{}, 1]\ns = [\"a\", \"b\"]\n");
  const Table root = document.root();
  root.optional_strings("s", 2);
  root.optional_tables("t", 2);
  EXPECT_EQ(verdict(document),
            "/etc/t.toml:1:10: 't' holds an integer; every element is a table, [[t]]");
  const Document other = parse("s = [\"a\", \"b\"]\n");
  other.root().optional_strings("s", 2);
  other.root().fail("s", 1, "no such file; make it");
  EXPECT_EQ(verdict(other), "/etc/t.toml:1:11: no such file; make it");
  other.root().fail("s", 5, "at the value");
  EXPECT_EQ(verdict(other), "/etc/t.toml:1:5: at the value");
}

TEST(StrictTable, FreeKeysComeInTheOrderOfTheFile) {
  const Document document = parse("[by_alpn]\nz = \"1\"\n\"http/1.1\" = \"2\"\na = \"3\"\n");
  const Table table = document.root().optional_table("by_alpn");
  EXPECT_EQ(table.keys(), (std::vector<std::string>{"z", "http/1.1", "a"}));
  EXPECT_EQ(verdict(document).rfind("/etc/t.toml:2:1: unknown key 'z'", 0), 0U);
  for (const std::string& key : table.keys()) table.required_string(key);
  EXPECT_EQ(verdict(document), "");
}

// The first reader ignores the second's table; the second then reads it as strictly.
TEST(StrictTable, TwoReadersShareADocument) {
  const Document document = parse("[mine]\nx = 1\n[yours]\ny = 1\nw = 2\n");
  document.root().required_table("mine").required_integer("x", 0, 9);
  document.root().ignore({"yours"});
  EXPECT_EQ(verdict(document), "");
  document.root().required_table("yours").required_integer("y", 0, 9);
  EXPECT_EQ(verdict(document).rfind("/etc/t.toml:5:1: unknown key 'w'", 0), 0U);
}

TEST(StrictTable, AMovedDocumentKeepsItsHandles) {
  Document first = parse("x = 1\n");
  const Table root = first.root();
  const Document second = std::move(first);
  EXPECT_EQ(root.required_integer("x", 0, 9), 1);
  EXPECT_EQ(verdict(second), "");
}

TEST(StrictTable, ResolvesPaths) {
  const Document document = parse("");
  EXPECT_EQ(document.file(), "/etc/t.toml");
  EXPECT_EQ(document.resolve("a.pem"), "/etc/a.pem");
  EXPECT_EQ(document.resolve("run/../a.pem"), "/etc/a.pem");
  EXPECT_EQ(document.resolve("/b/a.pem"), "/b/a.pem");
  const auto relative = Document::parse("", "t.toml");
  ASSERT_TRUE(relative);
  EXPECT_EQ(relative->resolve("a").front(), '/');
}

TEST(StrictTable, ErrorsAreOneLine) {
  const Document document = parse("x = 1\n");
  document.root().ignore({"x"});
  document.root().fail("x", "two\nlines\ttoo");
  EXPECT_EQ(verdict(document), "/etc/t.toml:1:5: two lines too");
}

TEST(Suggest, FindsLikelyMisspellings) {
  const std::string_view names[] = {"address", "addresses", "name", "mtu", "vlan", "gateway"};
  EXPECT_EQ(suggest("adress", names), "address");
  EXPECT_EQ(suggest("adresses", names), "addresses");
  EXPECT_EQ(suggest("gatewya", names), "gateway");
  EXPECT_EQ(suggest("nmae", names), "name");
  EXPECT_EQ(suggest("mut", names), "mtu");
  EXPECT_EQ(suggest("x", names), std::nullopt);
  EXPECT_EQ(suggest("speed", names), std::nullopt);
  EXPECT_EQ(suggest("", names), std::nullopt);
  EXPECT_EQ(suggest(std::string(1000, 'a'), names), std::nullopt);
  EXPECT_EQ(suggest("name", {}), std::nullopt);
}

TEST(Quote, IsPrintable) {
  EXPECT_EQ(quote("a b"), "'a b'");
  EXPECT_EQ(quote("a\n\x1b[31m\xff"), "'a\\x0a\\x1b[31m\\xff'");
  EXPECT_EQ(quote(std::string(100, 'x')), "'" + std::string(80, 'x') + "...'");
}

}  // namespace
}  // namespace sluice::abi::config
