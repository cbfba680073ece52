//! A DNS server, as blunt as a test needs it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Answers questions for IPv4 addresses, whatever the name, and says that there are no others.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
}

impl Dns {
    /// Gives what `answer` says, which gets the question's number. A client that is in a hurry may ask the same again.
    pub(crate) fn answering(answer: impl Fn(usize) -> Ipv4Addr + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut packet, mut asked) = ([0; 512], 0);
            while let Ok((len, from)) = socket.recv_from(&mut packet) {
                let count = || {
                    asked += 1;
                    answer(asked - 1)
                };
                let answer = answer_to(&packet[..len], count);
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { address }
    }
}

/// The answer to one question (RFC 1035 section 4.1).
fn answer_to(question: &[u8], address: impl FnOnce() -> Ipv4Addr) -> Vec<u8> {
    // Behind the 12 bytes of the header: labels up to an empty one, the type, the class.
    let name_end = 12 + question[12..].iter().position(|&byte| byte == 0).unwrap() + 1;
    let is_v4 = question[name_end..name_end + 2] == [0, 1];
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
    answer.extend(&question[12..name_end + 4]);
    if is_v4 {
        // The name as above, type A, class IN, no time to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address().octets());
    }
    answer
}
