//! Takes a TLS message apart. Also for the tests that look at the wire.

/// Takes big-endian numbers and length-prefixed vectors off the front of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// A number of so many bytes.
    pub(crate) fn number(&mut self, bytes: usize) -> Option<usize> {
        let bytes = self.take(bytes)?.iter();
        Some(bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(crate) fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.number(1)?;
        self.take(length)
    }

    pub(crate) fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number(2)?;
        self.take(length)
    }

    pub(crate) fn vector24(&mut self) -> Option<&'a [u8]> {
        let length = self.number(3)?;
        self.take(length)
    }

    /// The body of an extension, in a list of them.
    pub(crate) fn extension(mut self, wanted: u16) -> Option<&'a [u8]> {
        while let Some(kind) = self.number(2) {
            let body = self.vector16()?;
            if kind == usize::from(wanted) {
                return Some(body);
            }
        }
        None
    }
}
