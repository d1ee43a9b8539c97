//! All kinds that a rule is made of, by their numbers.

use perfd::unwind::{CfaKind, FpKind, RaKind};

pub const CFA: [CfaKind; 10] = [
    CfaKind::None,
    CfaKind::Unsupported,
    CfaKind::End,
    CfaKind::Sp,
    CfaKind::Fp,
    CfaKind::DerefSp,
    CfaKind::DerefFp,
    CfaKind::Drap,
    CfaKind::Plt,
    CfaKind::Base,
];

pub const FP: [FpKind; 6] = [
    FpKind::Same,
    FpKind::AtCfa,
    FpKind::AtFp,
    FpKind::AtSp,
    FpKind::Undefined,
    FpKind::AtSpWithLink,
];

pub const RA: [RaKind; 4] = [RaKind::Undefined, RaKind::AtCfa, RaKind::AtSp, RaKind::Link];
