// The admin socket over a real UNIX socket, with the loop on a thread of its own.
#include "control/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "control/admin_answers.h"
#include "control/ctl/client.h"
#include "harness.h"

namespace sluice::control::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class Peer {
 public:
  explicit Peer(const std::string& path) : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void write(const std::string& text) const {
    EXPECT_EQ(::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // One line; empty when the other side has closed or is silent for ten seconds.
  std::string line() {
    for (;;) {
      const size_t end = input_.find('\n');
      if (end != std::string::npos) {
        std::string out = input_.substr(0, end);
        input_.erase(0, end + 1);
        return out;
      }
      char chunk[4096];
      pollfd readable{socket_.get(), POLLIN, 0};
      if (poll(&readable, 1, 10'000) != 1) return {};
      const ssize_t got = recv(socket_.get(), chunk, sizeof chunk, 0);
      if (got <= 0) return {};
      input_.append(chunk, static_cast<size_t>(got));
    }
  }
  json ask(const std::string& request) {
    write(request + "\n");
    return json::parse(line(), nullptr, false);
  }
  int fd() const { return socket_.get(); }

 private:
  abi::Descriptor socket_;
  std::string input_;
};

// Admin with the real answers, attached to a fake worker.
class AdminSocket : public ::testing::Test {
 protected:
  AdminSocket()
      : lister_(*loop_, [] {}),
        attacher_(*loop_, "/nonexistent", 2, {}),
        sources_{test_pki().config, attacher_, lister_, {&stats_}, Loop::now_us()} {
    auto listener = Admin::listen(path_);
    EXPECT_TRUE(listener.has_value());
    admin_ = std::make_unique<Admin>(*loop_, std::move(*listener),
                                     [this](const json& request, Admin::Respond respond) {
                                       handle(request, std::move(respond));
                                     });
    admin_->start();
  }
  ~AdminSocket() override {
    loop_->stop();
    if (thread_.joinable()) thread_.join();
  }
  void start() {
    thread_ = std::thread([this] { loop_->run(&lister_); });
  }
  void handle(const json& request, Admin::Respond respond) {
    if (request.contains("echo")) {
      respond(admin_result({{"echo", request["echo"]}}));
    } else if (request.contains("big")) {
      respond(admin_result({{"big", std::string(request["big"].get<size_t>(), 'x')}}));
    } else {
      answer_admin(sources_, request, std::move(respond));
    }
  }

  TempDirectory directory_;
  std::string path_ = directory_.file("run/admin.sock");
  std::unique_ptr<Loop> loop_ = std::move(*Loop::create());
  handshake::ServiceStats stats_;
  FlowLister lister_;
  Attacher attacher_;
  AdminSources sources_;
  std::unique_ptr<Admin> admin_;
  std::thread thread_;
};

TEST_F(AdminSocket, IsPrivate) {
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(AdminSocket, AnswersStatusAndCerts) {
  start();
  Peer peer(path_);
  const json status = peer.ask(R"({"command":"status"})");
  EXPECT_TRUE(status["ok"].get<bool>());
  EXPECT_FALSE(status["result"]["attached"].get<bool>());
  EXPECT_EQ(status["result"]["handshakes"]["done"], 0);
  const json certs = peer.ask(R"({"command":"certs"})");
  ASSERT_EQ(certs["result"]["certificates"].size(), 6U);
  EXPECT_EQ(certs["result"]["certificates"][0]["key"], "RSA 2048");
}

TEST_F(AdminSocket, BadRequestsGetAnError) {
  start();
  Peer peer(path_);
  struct Row {
    const char* request;
    const char* code;
  };
  constexpr Row kRows[] = {
      {"nonsense", "bad_request"},
      {"[]", "bad_request"},
      {"{}", "bad_request"},
      {R"({"command":7})", "bad_request"},
      {R"({"command":"reboot"})", "unknown_command"},
      {R"({"command":"connections","limit":0})", "bad_request"},
      {R"({"command":"connections","limit":100000})", "bad_request"},
      {R"({"command":"connections","index":-1})", "bad_request"},
      {R"({"command":"connections","worker":"x"})", "bad_request"},
      {R"({"command":"connections"})", "not_attached"},
      {R"({"command":"counters"})", "not_attached"},
      {R"({"command":"cores"})", "not_attached"},
      {"\xff\xfe", "bad_request"},
  };
  for (const Row& row : kRows) {
    const json answer = peer.ask(row.request);
    ASSERT_TRUE(answer.is_object()) << row.request;
    EXPECT_FALSE(answer["ok"].get<bool>());
    EXPECT_EQ(answer["error"]["code"], row.code) << row.request;
  }
  EXPECT_EQ(peer.ask(R"({"echo":1})")["result"]["echo"], 1);  // the connection lives on
}

TEST_F(AdminSocket, DeepNestingIsRefusedQuietly) {
  start();
  Peer peer(path_);
  EXPECT_EQ(peer.ask(std::string(60'000, '['))["error"]["code"], "bad_request");
}

TEST_F(AdminSocket, TooLargeRequestEndsTheConnection) {
  start();
  Peer peer(path_);
  peer.write(std::string(kMaxAdminRequestBytes + 1, 'x'));
  EXPECT_EQ(json::parse(peer.line())["error"]["code"], "too_large");
  EXPECT_EQ(peer.line(), "");
}

TEST_F(AdminSocket, PipelinedAndCutRequests) {
  start();
  Peer peer(path_);
  std::string all;
  for (int i = 0; i < 500; ++i) all += R"({"echo":)" + std::to_string(i) + "}\n";
  for (size_t at = 0; at < all.size(); at += 7) peer.write(all.substr(at, 7));
  for (int i = 0; i < 500; ++i) EXPECT_EQ(json::parse(peer.line())["result"]["echo"], i);
}

TEST_F(AdminSocket, SlowReaderWaitsAlone) {
  start();
  Peer slow(path_);
  for (int i = 0; i < 200; ++i) slow.write("{\"big\":100000}\n");
  Peer quick(path_);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(quick.ask(R"({"echo":2})")["result"]["echo"], 2);
  size_t answers = 0;
  while (!slow.line().empty() && ++answers < 200) {
  }
  EXPECT_EQ(answers, 200U);
}

TEST_F(AdminSocket, ClientsThatLeaveMidwayDoNoHarm) {
  start();
  for (int i = 0; i < 50; ++i) {
    const Peer peer(path_);
    peer.write("{\"big\":1000000}\n{\"echo\":");
  }
  Peer peer(path_);
  EXPECT_EQ(peer.ask(R"({"echo":3})")["result"]["echo"], 3);
}

TEST_F(AdminSocket, TooManyClientsAreTurnedAway) {
  start();
  std::vector<std::unique_ptr<Peer>> peers;
  for (size_t i = 0; i < kMaxAdminClients; ++i) {
    peers.push_back(std::make_unique<Peer>(path_));
    EXPECT_EQ(peers.back()->ask(R"({"echo":1})")["result"]["echo"], 1);
  }
  Peer extra(path_);
  EXPECT_EQ(json::parse(extra.line())["error"]["code"], "busy");
  peers.clear();
  for (int attempt = 0; attempt < 100; ++attempt) {
    Peer again(path_);
    again.write("{\"echo\":4}\n");
    if (json::parse(again.line()).contains("result")) return;
  }
  FAIL() << "no place became free";
}

TEST_F(AdminSocket, ListensOnceAndReplacesADeadSocket) {
  start();
  const auto second = Admin::listen(path_);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error(), HasSubstr("another process answers"));
  const std::string other = directory_.file("other.sock");
  { const auto dead = Admin::listen(other); }
  EXPECT_TRUE(Admin::listen(other).has_value());
  directory_.write("file", "x");
  EXPECT_THAT(Admin::listen(directory_.file("file")).error(), HasSubstr("no socket"));
}

// ---- Flow lists, without the socket.

struct Listing {
  std::unique_ptr<Loop> loop = std::move(*Loop::create());
  FakeWorker worker;
  FlowLister lister{*loop, [] {}};
  std::vector<FlowLister::Page> pages;
  Listing() { lister.attach(worker.attachment()); }
  void ask(uint32_t index = 0) {
    lister.list(0, index, 10, [this](FlowLister::Page page) { pages.push_back(std::move(page)); });
    lister.poll();
  }
  void answer(uint64_t token, uint32_t rows, uint32_t next) {
    for (uint32_t i = 0; i < rows; ++i) {
      abi::FlowId id;
      id.index = i + 1;
      worker.push(abi::FlowRow{}, id, 0);
    }
    abi::FlowsEnd end;
    end.token = token;
    end.next_index = next;
    worker.push(end, abi::FlowId{}, 0);
    lister.poll();
  }
};

TEST(FlowList, PagesInTurn) {
  Listing listing;
  listing.ask(0);
  listing.ask(5);
  auto requests = listing.worker.drain_list_flows();
  ASSERT_EQ(requests.size(), 1U);  // one at a time
  EXPECT_EQ(requests[0].max_rows, 10U);
  listing.answer(requests[0].token, 3, 77);
  ASSERT_EQ(listing.pages.size(), 1U);
  EXPECT_EQ(listing.pages[0].rows.size(), 3U);
  EXPECT_EQ(listing.pages[0].next_index, 77U);
  requests = listing.worker.drain_list_flows();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].first_index, 5U);
  listing.answer(requests[0].token, 0, UINT32_MAX);
  ASSERT_EQ(listing.pages.size(), 2U);
  EXPECT_TRUE(listing.pages[1].rows.empty());
}

TEST(FlowList, NextPageNeverGoesBack) {
  Listing listing;
  listing.ask(50);
  listing.answer(listing.worker.drain_list_flows().at(0).token, 1, 50);
  EXPECT_EQ(listing.pages.at(0).next_index, UINT32_MAX);
}

TEST(FlowList, RowsNobodyAskedForAndWrongTokensAreDropped) {
  Listing listing;
  listing.answer(1, 5, 7);
  listing.ask();
  const auto requests = listing.worker.drain_list_flows();
  listing.answer(requests.at(0).token + 1, 2, 7);
  EXPECT_TRUE(listing.pages.empty());
}

TEST(FlowList, DetachAnswersEverybody) {
  Listing listing;
  listing.ask();
  listing.ask();
  listing.lister.detach();
  ASSERT_EQ(listing.pages.size(), 2U);
  EXPECT_THAT(listing.pages[0].error, HasSubstr("gone"));
  listing.ask();
  EXPECT_THAT(listing.pages.at(2).error, HasSubstr("not attached"));
}

TEST(FlowList, SilentWorkerIsAnError) {
  Listing listing;
  listing.ask();
  const auto requests = listing.worker.drain_list_flows();
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  listing.lister.poll();
  ASSERT_EQ(listing.pages.size(), 1U);
  EXPECT_THAT(listing.pages[0].error, HasSubstr("in time"));
  listing.ask();  // waits: the late answer is still to come
  EXPECT_TRUE(listing.worker.drain_list_flows().empty());
  listing.answer(requests.at(0).token, 4, UINT32_MAX);
  ASSERT_EQ(listing.pages.size(), 1U);
  listing.answer(listing.worker.drain_list_flows().at(0).token, 1, UINT32_MAX);
  EXPECT_EQ(listing.pages.at(1).rows.size(), 1U);
}

TEST(FlowList, RowAsJson) {
  abi::FlowRow row;
  row.header.flow.core = 1;
  row.header.flow.index = 2;
  row.header.flow.generation = 3;
  row.phase = static_cast<uint8_t>(abi::FlowPhase::Relaying);
  row.tls_version = 0x0304;
  row.suite = 0x1301;
  row.host_tag = host_tag(1);
  abi::parse_socket_address("[fd00::1]:443", row.service);
  abi::parse_socket_address("10.99.2.2:8080", row.backend);
  const auto out = flow_row_json(test_pki().config, row);
  EXPECT_EQ(out["id"], "1:2:3");
  EXPECT_EQ(out["phase"], "Relaying");
  EXPECT_EQ(out["tls"], "1.3");
  EXPECT_EQ(out["suite"], "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(out["host"], "ecdsa.sluice.test");
  EXPECT_EQ(out["service"], "[fd00::1]:443");
  row.host_tag = 999;
  row.suite = 0x12345;
  EXPECT_EQ(flow_row_json(test_pki().config, row)["host"], "");
}

}  // namespace
}  // namespace sluice::control::testing
