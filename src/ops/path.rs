//! In which order to multiply several factors.

/// Factors up to which every order is tried.
const EVERY: usize = 8;

/// Pairs of factors to multiply, one after another: both leave the list, and their product joins its end. The cheapest by
/// the number of multiplications; of more than a few factors, the cheapest next pair each time.
pub(super) fn cheapest<L: Copy + PartialEq>(
    factors: &[Vec<L>],
    result: &[L],
    size: &dyn Fn(L) -> usize,
) -> Vec<(usize, usize)> {
    if factors.len() <= EVERY { exact(factors, result, size) } else { greedy(factors, result, size) }
}

/// Labels that either list has, each once.
fn union<L: Copy + PartialEq>(a: &[L], b: &[L]) -> Vec<L> {
    let mut all = a.to_vec();
    b.iter().filter(|l| !a.contains(l)).for_each(|&l| all.push(l));
    all
}

fn cost<L: Copy>(labels: &[L], size: &dyn Fn(L) -> usize) -> f64 {
    labels.iter().map(|&l| size(l) as f64).product()
}

/// The best way to the product of a set of factors.
#[derive(Clone)]
struct Best<L> {
    cost: f64,
    labels: Vec<L>,
    /// One part of the set; the other is the rest.
    part: usize,
}

/// Every way of cutting every set of factors in two.
fn exact<L: Copy + PartialEq>(factors: &[Vec<L>], result: &[L], size: &dyn Fn(L) -> usize) -> Vec<(usize, usize)> {
    let n = factors.len();
    let full = (1usize << n) - 1;
    let mut best: Vec<Option<Best<L>>> = vec![None; full + 1];
    for (i, factor) in factors.iter().enumerate() {
        best[1 << i] = Some(Best { cost: 0.0, labels: factor.clone(), part: 0 });
    }
    for set in 1..=full {
        if set.count_ones() < 2 {
            continue;
        }
        let outside = |l: &L| result.contains(l) || (0..n).any(|i| set & 1 << i == 0 && factors[i].contains(l));
        let mut part = (set - 1) & set;
        while part > set / 2 {
            if let (Some(a), Some(b)) = (&best[part], &best[set ^ part]) {
                let all = union(&a.labels, &b.labels);
                let total = a.cost + b.cost + cost(&all, size);
                if best[set].as_ref().is_none_or(|known| total < known.cost) {
                    let labels = all.into_iter().filter(outside).collect();
                    best[set] = Some(Best { cost: total, labels, part });
                }
            }
            part = (part - 1) & set;
        }
    }
    let mut pairs = Vec::new();
    let mut list: Vec<usize> = (0..n).map(|i| 1 << i).collect();
    let mut sets = vec![full];
    let mut order = Vec::new();
    while let Some(set) = sets.pop() {
        if let Some(found) = best[set].as_ref().filter(|_| set.count_ones() > 1) {
            order.push((found.part, set ^ found.part));
            sets.extend([found.part, set ^ found.part]);
        }
    }
    for (a, b) in order.into_iter().rev() {
        let place = |list: &[usize], set: usize| list.iter().position(|&s| s == set).unwrap_or(0);
        let (i, j) = (place(&list, a), place(&list, b));
        pairs.push((i.min(j), i.max(j)));
        list.retain(|&s| s != a && s != b);
        list.push(a | b);
    }
    pairs
}

/// The cheapest next pair each time.
fn greedy<L: Copy + PartialEq>(factors: &[Vec<L>], result: &[L], size: &dyn Fn(L) -> usize) -> Vec<(usize, usize)> {
    let mut list = factors.to_vec();
    let mut pairs = Vec::new();
    while list.len() > 1 {
        let all = (0..list.len()).flat_map(|i| (i + 1..list.len()).map(move |j| (i, j)));
        let price = |&(i, j): &(usize, usize)| cost(&union(&list[i], &list[j]), size);
        let Some((i, j)) = all.min_by(|a, b| price(a).total_cmp(&price(b))) else { break };
        let both = union(&list[i], &list[j]);
        list.remove(j);
        list.remove(i);
        list.push(both.into_iter().filter(|l| result.contains(l) || list.iter().any(|f| f.contains(l))).collect());
        pairs.push((i, j));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_products_come_first() {
        // a b c d with sizes 100, 2, 100, 2: (ab)(cd) is dear, a(bc) is cheap.
        let size = |l: char| if matches!(l, 'i' | 'k' | 'm') { 100 } else { 2 };
        let factors = [vec!['i', 'j'], vec!['j', 'k'], vec!['k', 'l']];
        assert_eq!(exact(&factors, &['i', 'l'], &size), [(1, 2), (0, 1)]);
        assert_eq!(greedy(&factors, &['i', 'l'], &size), [(1, 2), (0, 1)]);
        let many: Vec<Vec<char>> = ('a'..'l').map(|c| vec![c, (c as u8 + 1) as char]).collect();
        assert_eq!(cheapest(&many, &['a', 'l'], &size).len(), many.len() - 1);
    }
}
