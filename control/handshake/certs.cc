// Theory of operation. The files are parsed once, at start, with OpenSSL's default library context;
// what is kept is DER. A key or chain that OpenSSL's TLS would refuse (too small, a bad signature
// algorithm, a key of another certificate) is refused here, by trying it on a real SSL_CTX, so that
// the operator learns of it at start and not by failing handshakes.
#include "control/handshake/certs.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "abi/address.h"
#include "control/handshake/openssl_types.h"

namespace sluice::control::handshake {
namespace {

using File = CertificateError::File;
using Failed = tl::unexpected<CertificateError>;

constexpr int kMinimumRsaBits = 2048;

Failed refuse(File file, std::string message) {
  return Failed(CertificateError{file, std::move(message)});
}

std::string openssl_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "unknown reason" : reason;
}

// No terminal is asked for a password.
int no_password(char*, int, int, void*) { return 0; }

tl::expected<SecretBytes, std::string> read_file(const std::string& path, bool& open_to_others) {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rbe"));
  struct stat info {};
  if (!file || fstat(fileno(file.get()), &info) != 0) {
    return tl::unexpected("cannot open \"" + path + "\": " + std::strerror(errno) +
                          "; check the path and its permissions");
  }
  if (!S_ISREG(info.st_mode) || static_cast<size_t>(info.st_size) > kMaxCertificateFileBytes) {
    return tl::unexpected("\"" + path + "\" is not a file of at most 1 MiB; give a PEM file");
  }
  std::setvbuf(file.get(), nullptr, _IONBF, 0);  // no copy of a key in stdio's buffer
  open_to_others = (info.st_mode & (S_IROTH | S_IWOTH)) != 0;
  SecretBytes bytes(static_cast<size_t>(info.st_size));
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file.get()));
  return bytes;
}

BioPtr memory_bio(const SecretBytes& bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

X509StackPtr parse_chain(const SecretBytes& pem) {
  X509StackPtr chain(sk_X509_new_null());
  const BioPtr bio = memory_bio(pem);
  ERR_clear_error();
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)) {
    sk_X509_push(chain.get(), certificate);
    if (sk_X509_num(chain.get()) > static_cast<int>(kMaxChainLength)) return nullptr;
  }
  const unsigned long error = ERR_peek_last_error();
  const bool at_end =
      ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  return at_end ? std::move(chain) : nullptr;
}

std::string name_text(const X509_NAME* name) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &data);
  return length > 0 ? std::string(data, static_cast<size_t>(length)) : std::string();
}

int64_t time_seconds(const ASN1_TIME* time) {
  tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<int64_t>(timegm(&parts)) : 0;
}

std::vector<std::string> alternative_names(const X509* leaf) {
  std::vector<std::string> names;
  const NamesPtr list(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; list && i < sk_GENERAL_NAME_num(list.get()); ++i) {
    int type = 0;
    const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(list.get(), i), &type);
    const auto* text = static_cast<const ASN1_STRING*>(value);
    if (type != GEN_DNS && type != GEN_IPADD) continue;
    const uint8_t* data = ASN1_STRING_get0_data(text);
    const auto length = static_cast<size_t>(ASN1_STRING_length(text));
    if (type == GEN_DNS) {
      names.emplace_back(reinterpret_cast<const char*>(data), length);
    } else if (length == 4) {
      names.push_back(abi::to_string(abi::IpAddress::from_ipv4(
          uint32_t{data[0]} << 24 | uint32_t{data[1]} << 16 | uint32_t{data[2]} << 8 | data[3])));
    } else if (length == 16) {
      abi::IpAddress address;
      std::memcpy(address.bytes.data(), data, 16);
      names.push_back(abi::to_string(address));
    }
  }
  return names;
}

std::string fingerprint(const X509* leaf) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (X509_digest(leaf, EVP_sha256(), digest, &length) != 1) return {};
  std::string text;
  for (unsigned i = 0; i < length; ++i) {
    char byte[3];
    std::snprintf(byte, sizeof byte, "%02x", digest[i]);
    text += byte;
  }
  return text;
}

// Fills type and description; a sentence when TLS here cannot use such a key.
std::string describe_key(const EVP_PKEY* key, Certificate& out) {
  const int bits = EVP_PKEY_get_bits(key);
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
    out.type = KeyType::Rsa;
    out.key_description = "RSA " + std::to_string(bits);
    if (bits >= kMinimumRsaBits) return {};
    return "the RSA key has " + std::to_string(bits) + " bits; use at least 2048";
  }
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
    char group[32] = {};
    EVP_PKEY_get_group_name(key, group, sizeof group, nullptr);
    out.type = KeyType::Ecdsa;
    const std::string name = group;
    if (name == "prime256v1") out.key_description = "ECDSA P-256";
    if (name == "secp384r1") out.key_description = "ECDSA P-384";
    if (name == "secp521r1") out.key_description = "ECDSA P-521";
    if (!out.key_description.empty()) return {};
    return "the key is on the curve " + name + "; use P-256, P-384 or P-521";
  }
  return "the key is neither RSA nor ECDSA; use one of these";
}

template <class T, class Encode>
auto to_der(T* object, Encode encode, auto& out) {
  uint8_t* data = nullptr;
  const int length = encode(object, &data);
  if (length > 0) out.assign(data, data + length);
  OPENSSL_clear_free(data, length > 0 ? static_cast<size_t>(length) : 0);
  return length > 0;
}

void describe(const X509* leaf, Certificate& out) {
  out.subject = name_text(X509_get_subject_name(leaf));
  out.issuer = name_text(X509_get_issuer_name(leaf));
  out.alternative_names = alternative_names(leaf);
  out.fingerprint_sha256 = fingerprint(leaf);
  out.not_before = time_seconds(X509_get0_notBefore(leaf));
  out.not_after = time_seconds(X509_get0_notAfter(leaf));
}

// What OpenSSL's security levels look at; a self-signed certificate's signature proves nothing.
int strength_bits(X509* certificate) {
  const int of_key = EVP_PKEY_get_security_bits(X509_get0_pubkey(certificate));
  int of_signature = 0;
  if ((X509_get_extension_flags(certificate) & EXFLAG_SS) != 0 ||
      X509_get_signature_info(certificate, nullptr, nullptr, &of_signature, nullptr) != 1) {
    return of_key;
  }
  return std::min(of_key, of_signature);
}

// What a handshake will do with it, done once.
std::string try_on_tls(X509* leaf, EVP_PKEY* key, STACK_OF(X509) * rest) {
  const SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  ERR_clear_error();
  if (SSL_CTX_use_cert_and_key(context.get(), leaf, key, rest, 1) == 1) return {};
  return "TLS cannot use this certificate (" + openssl_reason() +
         "); use a chain with SHA-256 signatures and keys of at least 112 bits of strength";
}

}  // namespace

const char* key_type_name(KeyType type) {
  switch (type) {
    case KeyType::Rsa:
      return "RSA";
    case KeyType::Ecdsa:
      return "ECDSA";
  }
  return "RSA";
}

bool Certificate::covers(const std::string& name) const {
  const bool wildcard = name.starts_with("*.");
  for (const std::string& alternative : alternative_names) {
    const std::string pattern = normalise_host_pattern(alternative);
    if (pattern.empty()) continue;
    if (pattern == name) return true;
    HostTable table;
    table.add(pattern, 0);
    if (!wildcard && table.find(name) == 0) return true;
  }
  return false;
}

tl::expected<std::shared_ptr<const Certificate>, CertificateError> load_certificate(
    const std::string& chain_file, const std::string& key_file) {
  bool chain_is_open = false;
  auto out = std::make_shared<Certificate>();
  out->chain_file = chain_file;
  out->key_file = key_file;
  const auto chain_pem = read_file(chain_file, chain_is_open);
  if (!chain_pem) return refuse(File::Chain, chain_pem.error());
  const auto key_pem = read_file(key_file, out->key_file_is_open);
  if (!key_pem) return refuse(File::Key, key_pem.error());

  const X509StackPtr chain = parse_chain(*chain_pem);
  if (!chain || sk_X509_num(chain.get()) == 0) {
    return refuse(File::Chain, "\"" + chain_file +
                                   "\" holds no certificate chain; give 1 to 10 certificates in "
                                   "PEM, the server's first");
  }
  const BioPtr key_bio = memory_bio(*key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, no_password, nullptr));
  if (!key) {
    ERR_clear_error();
    return refuse(File::Key,
                  "\"" + key_file + "\" holds no usable key; give an unencrypted key in PEM");
  }
  const X509Ptr leaf(sk_X509_shift(chain.get()));
  if (std::string error = describe_key(key.get(), *out); !error.empty()) {
    return refuse(File::Key, error);
  }
  if (X509_check_private_key(leaf.get(), key.get()) != 1) {
    ERR_clear_error();
    return refuse(File::Key, "the key does not belong to the certificate in \"" + chain_file +
                                 "\"; give the key that the certificate was issued for");
  }
  if (std::string error = try_on_tls(leaf.get(), key.get(), chain.get()); !error.empty()) {
    ERR_clear_error();
    return refuse(File::Chain, error);
  }
  describe(leaf.get(), *out);
  out->strength_bits = strength_bits(leaf.get());
  bool encoded = to_der(key.get(), i2d_PrivateKey, out->key);
  encoded = to_der(leaf.get(), i2d_X509, out->chain.emplace_back()) && encoded;
  for (int i = 0; i < sk_X509_num(chain.get()); ++i) {
    X509* const link = sk_X509_value(chain.get(), i);
    out->strength_bits = std::min(out->strength_bits, strength_bits(link));
    encoded = to_der(link, i2d_X509, out->chain.emplace_back()) && encoded;
  }
  if (!encoded) return refuse(File::Chain, "cannot encode \"" + chain_file + "\"; check the file");
  return out;
}

}  // namespace sluice::control::handshake
