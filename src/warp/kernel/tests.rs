use super::*;

#[test]
fn names_are_known_and_others_listed() {
    for (name, kernel) in Kernel::ALL {
        assert_eq!((Kernel::from_name(name).unwrap(), kernel.name()), (kernel, name));
    }
    assert_eq!(Kernel::from_name("cubicspline").unwrap(), Kernel::CubicSpline);
    let message = Kernel::from_name("bilnear").unwrap_err().to_string();
    assert!(message.contains("'bilnear'") && message.contains("nearest, bilinear, cubic, cubic_spline"), "{message}");
}
