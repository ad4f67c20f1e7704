// Attaching over a real socket: the honest case, and every false client and false dataplane.
#include "abi/attach.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

namespace sluice::abi {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kWorkers = 2;
constexpr uint32_t kEndpoints = 3;
constexpr uint32_t kEpoch = 6;

size_t open_descriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 256; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

bool readable(int fd, int timeout_ms = 0) {
  pollfd wanted{fd, POLLIN, 0};
  return poll(&wanted, 1, timeout_ms) == 1 && (wanted.revents & POLLIN) != 0;
}

// A listener in a directory of its own.
class AttachTest : public testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/sluice-attach-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    path_ = directory_ + "/dataplane.sock";
    before_ = open_descriptors();
  }
  void TearDown() override {
    listener_.reset();
    EXPECT_EQ(open_descriptors(), before_) << "a descriptor leaked";
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  void listen() {
    std::string error;
    listener_ = listen_attach(path_, error);
    ASSERT_TRUE(listener_) << error;
  }
  Descriptor connect_raw() const {
    Descriptor client(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return client;
  }
  AcceptResult accept(bool busy = false) {
    return accept_attach(listener_.get(), kWorkers, kEpoch, busy, control_, message_);
  }
  // The reply that a raw client finds, and nothing behind it.
  static AttachReply read_reply(const Descriptor& client) {
    AttachReply reply{};
    EXPECT_EQ(recv(client.get(), &reply, sizeof reply, MSG_DONTWAIT),
              static_cast<ssize_t>(sizeof reply));
    EXPECT_EQ(recv(client.get(), &reply.reserved, 1, MSG_DONTWAIT), 0);
    return reply;
  }

  std::string directory_;
  std::string path_;
  Descriptor listener_;
  AttachedControl control_;
  std::string message_;
  size_t before_ = 0;
};

AttachRequest good_request() {
  AttachRequest request;
  request.abi_version = kAbiVersion;
  request.endpoints = kEndpoints;
  return request;
}

// Accepts until somebody came, as the dataplane's loop does.
AcceptResult accept_within(int listener, bool busy, AttachedControl& out, std::string& message) {
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  AcceptResult result = AcceptResult::Nothing;
  while (result == AcceptResult::Nothing && Clock::now() < deadline) {
    readable(listener, 10);
    result = accept_attach(listener, kWorkers, kEpoch, busy, out, message);
  }
  return result;
}

TEST_F(AttachTest, BothEndsGetOneRegionAndWorkingWakeSockets) {
  listen();
  std::thread dataplane([this] {
    EXPECT_EQ(accept_within(listener_.get(), false, control_, message_), AcceptResult::Attached);
  });
  AttachedDataplane attached;
  std::string error;
  EXPECT_TRUE(attach(path_, kEndpoints, 10000, attached, error)) << error;
  dataplane.join();
  ASSERT_TRUE(control_.region.valid() && attached.region.valid());
  EXPECT_EQ(attached.region.epoch(), kEpoch);
  EXPECT_EQ(attached.version, SLUICE_VERSION);
  EXPECT_EQ(attached.process_id, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(control_.process_id, static_cast<uint32_t>(getpid()));
  control_.region.worker(1).published_us.store(99);
  EXPECT_EQ(attached.region.worker(1).published_us.load(), 99U);
  ASSERT_EQ(attached.worker_wake.size(), kWorkers);
  ASSERT_EQ(attached.endpoint_wake.size(), kEndpoints);
  for (uint32_t w = 0; w < kWorkers; ++w) {
    wake(attached.worker_wake[w].get());
    for (uint32_t i = 0; i < kWorkers; ++i) {
      EXPECT_EQ(readable(control_.worker_wake[i].get()), i == w);
    }
    drain_wake(control_.worker_wake[w].get());
    EXPECT_FALSE(readable(control_.worker_wake[w].get()));
  }
  wake(control_.endpoint_wake[2].get());
  EXPECT_TRUE(readable(attached.endpoint_wake[2].get()));
  EXPECT_FALSE(readable(attached.endpoint_wake[0].get()));
  attached = AttachedDataplane{};  // control dies: the connection tells
  EXPECT_TRUE(readable(control_.connection.get(), 1000));
  uint8_t byte = 0;
  EXPECT_EQ(recv(control_.connection.get(), &byte, 1, MSG_DONTWAIT), 0);
  wake(control_.endpoint_wake[2].get());  // to nobody: no signal, no error
  control_ = AttachedControl{};
}

TEST_F(AttachTest, SecondControlIsToldThatOneIsAttached) {
  listen();
  std::thread dataplane([this] {
    EXPECT_EQ(accept_within(listener_.get(), true, control_, message_), AcceptResult::Refused);
  });
  AttachedDataplane attached;
  std::string error;
  EXPECT_FALSE(attach(path_, kEndpoints, 10000, attached, error));
  dataplane.join();
  EXPECT_EQ(error, "sluice-dataplane refused: a sluice-control is attached already");
  EXPECT_NE(message_.find("a sluice-control is attached already"), std::string::npos) << message_;
  EXPECT_FALSE(attached.region.valid());
  EXPECT_FALSE(control_.region.valid());
}

TEST_F(AttachTest, FalseRequestsAreRefusedWithAReason) {
  struct Row {
    const char* name;
    void (*change)(AttachRequest&);
    AttachStatus expected;
  };
  const Row rows[] = {
      {"version 0", [](auto& r) { r.abi_version = 0; }, AttachStatus::WrongVersion},
      {"next version", [](auto& r) { r.abi_version += 1; }, AttachStatus::WrongVersion},
      {"magic", [](auto& r) { r.magic = 0; }, AttachStatus::BadRequest},
      {"no endpoints", [](auto& r) { r.endpoints = 0; }, AttachStatus::BadRequest},
      {"admin alone", [](auto& r) { r.endpoints = 1; }, AttachStatus::BadRequest},
      {"many endpoints", [](auto& r) { r.endpoints = kMaxEndpoints + 1; },
       AttachStatus::BadRequest},
      {"all endpoints", [](auto& r) { r.endpoints = UINT32_MAX; }, AttachStatus::BadRequest},
  };
  listen();
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    AttachRequest request = good_request();
    row.change(request);
    const Descriptor client = connect_raw();
    ASSERT_GT(send(client.get(), &request, sizeof request, 0), 0);
    EXPECT_EQ(accept(), AcceptResult::Refused);
    const AttachReply reply = read_reply(client);
    EXPECT_EQ(reply.status, static_cast<uint32_t>(row.expected)) << message_;
    EXPECT_EQ(reply.abi_version, kAbiVersion);
    EXPECT_EQ(reply.region_bytes, 0U);
  }
}

TEST_F(AttachTest, GarbageIsRefused) {
  listen();
  const std::string garbage(3000, 'x');
  for (const size_t length : {size_t{1}, sizeof(AttachRequest) - 1, sizeof(AttachRequest),
                              sizeof(AttachRequest) + 1, garbage.size()}) {
    SCOPED_TRACE(length);
    const Descriptor client = connect_raw();
    ASSERT_EQ(send(client.get(), garbage.data(), length, 0), static_cast<ssize_t>(length));
    EXPECT_EQ(accept(), AcceptResult::Refused);
    EXPECT_EQ(read_reply(client).status, static_cast<uint32_t>(AttachStatus::BadRequest));
  }
  EXPECT_FALSE(control_.connection);
}

TEST_F(AttachTest, DescriptorsInARequestAreRefusedAndClosed) {
  listen();
  for (const size_t count : {size_t{1}, size_t{200}}) {  // 200: more than there is room for
    SCOPED_TRACE(count);
    const Descriptor client = connect_raw();
    const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    AttachRequest request = good_request();
    iovec part{&request, sizeof request};
    std::vector<char> control(CMSG_SPACE(count * sizeof(int)));
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    const std::vector<int> descriptors(count, null.get());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), count * sizeof(int));
    ASSERT_GT(sendmsg(client.get(), &header, 0), 0);
    const size_t open_before = open_descriptors();
    EXPECT_EQ(accept(), AcceptResult::Refused);
    EXPECT_EQ(open_descriptors(), open_before);
    EXPECT_EQ(read_reply(client).status, static_cast<uint32_t>(AttachStatus::BadRequest));
  }
}

TEST_F(AttachTest, ASilentClientCostsLittleAndBlocksNobody) {
  listen();
  EXPECT_EQ(accept(), AcceptResult::Nothing);
  const Descriptor silent = connect_raw();
  const auto start = Clock::now();
  EXPECT_EQ(accept(), AcceptResult::Refused);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));
  EXPECT_NE(message_.find("sent nothing in time"), std::string::npos) << message_;
  const Descriptor honest = connect_raw();
  const AttachRequest request = good_request();
  ASSERT_GT(send(honest.get(), &request, sizeof request, 0), 0);
  EXPECT_EQ(accept(), AcceptResult::Attached);
  control_ = AttachedControl{};
}

TEST_F(AttachTest, AClientThatHasGoneIsRefused) {
  listen();
  connect_raw().reset();
  EXPECT_EQ(accept(), AcceptResult::Refused);
  EXPECT_NE(message_.find("closed before its request"), std::string::npos) << message_;
  {
    const Descriptor client = connect_raw();
    const AttachRequest request = good_request();
    ASSERT_GT(send(client.get(), &request, sizeof request, 0), 0);
  }
  EXPECT_EQ(accept(), AcceptResult::Refused);
  EXPECT_NE(message_.find("the reply could not be sent"), std::string::npos) << message_;
  EXPECT_FALSE(control_.region.valid());
}

TEST_F(AttachTest, AStaleSocketIsReplacedALiveOneIsNot) {
  listen();
  std::string error;
  EXPECT_FALSE(listen_attach(path_, error));
  EXPECT_NE(error.find("another program serves"), std::string::npos) << error;
  EXPECT_EQ(accept(), AcceptResult::Refused);  // the probe
  listener_.reset();
  EXPECT_EQ(access(path_.c_str(), F_OK), 0) << "the file of a dead dataplane stays";
  listen();
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(AttachTest, ListenRefusesPaths) {
  std::string error;
  EXPECT_FALSE(listen_attach(std::string(108, 'x'), error));
  EXPECT_NE(error.find("1 to 107 bytes"), std::string::npos) << error;
  EXPECT_FALSE(listen_attach(directory_ + "/none/dataplane.sock", error));
  EXPECT_NE(error.find("No such file or directory"), std::string::npos) << error;
  EXPECT_FALSE(listen_attach(directory_, error));
  EXPECT_NE(error.find("is not a socket"), std::string::npos) << error;
}

TEST_F(AttachTest, NobodyListens) {
  AttachedDataplane attached;
  std::string error;
  EXPECT_FALSE(attach(path_, kEndpoints, 50, attached, error));
  EXPECT_NE(error.find("cannot connect to sluice-dataplane"), std::string::npos) << error;
}

TEST_F(AttachTest, ADataplaneThatNeverAnswersIsGivenUp) {
  listen();
  AttachedDataplane attached;
  std::string error;
  const auto start = Clock::now();
  EXPECT_FALSE(attach(path_, kEndpoints, 50, attached, error));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(error, "sluice-dataplane did not answer in time");
}

// ---- False dataplanes

struct FalseReply {
  AttachReply reply;
  std::vector<int> descriptors;
  std::vector<Descriptor> owned;
  Region region;

  FalseReply() {
    reply.abi_version = kAbiVersion;
    reply.epoch = kEpoch;
    reply.workers = kWorkers;
    reply.endpoints = kEndpoints;
    reply.region_bytes = region_bytes({kWorkers, kEndpoints});
    EXPECT_EQ(Region::create({kWorkers, kEndpoints}, kEpoch, region), RegionError::None);
    descriptors.push_back(region.fd());
    for (uint32_t i = 0; i < kWorkers + kEndpoints; ++i) add_socket(SOCK_DGRAM);
  }
  void add_socket(int type) {
    owned.emplace_back(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    descriptors.push_back(owned.back().get());
  }
};

void serve_false_reply(int listener, const FalseReply& falsehood, size_t length) {
  if (!readable(listener, 10000)) return;
  const Descriptor client(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  AttachRequest request;
  EXPECT_GT(recv(client.get(), &request, sizeof request, 0), 0);
  if (length == 0) return;
  const size_t bytes = falsehood.descriptors.size() * sizeof(int);
  std::vector<char> control(CMSG_SPACE(bytes));
  AttachReply reply = falsehood.reply;
  iovec part{&reply, length};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (bytes > 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(rights), falsehood.descriptors.data(), bytes);
  }
  EXPECT_EQ(sendmsg(client.get(), &header, 0), static_cast<ssize_t>(length));
}

TEST_F(AttachTest, FalseDataplanesAreRefused) {
  struct Row {
    const char* name;
    std::function<void(FalseReply&, size_t& length)> change;
    const char* expected;
  };
  const Row rows[] = {
      {"closes", [](auto&, auto& length) { length = 0; }, "closed the connection"},
      {"short", [](auto&, auto& length) { length -= 1; }, "another length"},
      {"magic", [](auto& f, auto&) { f.reply.magic = 1; }, "what answers is not"},
      {"status 99", [](auto& f, auto&) { f.reply.status = 99; }, "unknown answer"},
      {"no memory", [](auto& f, auto&) { f.reply.status = 4; }, "no memory"},
      {"version", [](auto& f, auto&) { f.reply.abi_version = 9; }, "contradicts itself"},
      {"refused version",
       [](auto& f, auto&) {
         f.reply.abi_version = 9;
         f.reply.status = 1;
       },
       "speaks ABI version 9, this is "},
      {"no workers", [](auto& f, auto&) { f.reply.workers = 0; }, "contradicts itself"},
      {"many workers", [](auto& f, auto&) { f.reply.workers = 65; }, "contradicts itself"},
      {"endpoints", [](auto& f, auto&) { f.reply.endpoints = 4; }, "contradicts itself"},
      {"bytes", [](auto& f, auto&) { f.reply.region_bytes += 1; }, "contradicts itself"},
      {"none sent", [](auto& f, auto&) { f.descriptors.clear(); }, "sent 0 descriptors, not 6"},
      {"one missing", [](auto& f, auto&) { f.descriptors.pop_back(); },
       "sent 5 descriptors, not 6"},
      {"one more", [](auto& f, auto&) { f.add_socket(SOCK_DGRAM); }, "sent 7 descriptors, not 6"},
      {"too many", [](auto& f, auto&) { f.descriptors.resize(200, f.descriptors[0]); },
       "too many descriptors"},
      {"region is a socket", [](auto& f, auto&) { f.descriptors[0] = f.descriptors[1]; },
       "not sealed"},
      {"socket is a file", [](auto& f, auto&) { f.descriptors[3] = f.descriptors[0]; },
       "wake socket of another kind"},
      {"stream socket",
       [](auto& f, auto&) {
         f.descriptors.pop_back();
         f.add_socket(SOCK_STREAM);
       },
       "wake socket of another kind"},
      {"epoch", [](auto& f, auto&) { f.reply.epoch += 1; }, "another epoch"},
  };
  listen();
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const size_t before = open_descriptors();
    {
      FalseReply falsehood;
      size_t length = sizeof(AttachReply);
      row.change(falsehood, length);
      std::thread dataplane(serve_false_reply, listener_.get(), std::cref(falsehood), length);
      AttachedDataplane attached;
      std::string error;
      EXPECT_FALSE(attach(path_, kEndpoints, 10000, attached, error));
      EXPECT_NE(error.find(row.expected), std::string::npos) << error;
      EXPECT_FALSE(attached.region.valid());
      dataplane.join();
    }
    EXPECT_EQ(open_descriptors(), before) << "a descriptor leaked";
  }
}

// A peer that floods a wake socket cannot hold its reader.
TEST(Wake, DrainingIsBounded) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);
  for (int i = 0; i < 5000; ++i) wake(writer.get());  // full long before: still no error
  EXPECT_TRUE(readable(reader.get()));
  for (int i = 0; i < 5000 && readable(reader.get()); ++i) drain_wake(reader.get());
  EXPECT_FALSE(readable(reader.get()));
  ASSERT_EQ(shutdown(reader.get(), SHUT_RDWR), 0);
  drain_wake(reader.get());  // end of file for ever: returns
}

}  // namespace
}  // namespace sluice::abi
